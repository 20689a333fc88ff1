// 整个小程序只有一个客户端：所有页面共用一条连接。心跳、重连、补发、切后台和回前台，都由 SDK 负责，这里一行也不用写。
// English: one client for the whole app. Heartbeat, reconnect, outbox, sleep and wake are the SDK's work.
const {connect} = require('./lib/teahouse')

App({
  client: null,
  login: null, // {url, user}

  onLaunch() {
    const login = wx.getStorageSync('login')
    if (login) this.signIn(login)
  },

  // 局域网的 open 模式：报一个名字就能进。
  // 正式环境请用 token 模式，把 user 换成 getToken，由您自己的后端签发（过期后 SDK 会再要一次）：
  //   connect({url, getToken: () => askMyBackend('/teahouse-token')})
  // English: open mode names itself; in token mode give getToken instead of user.
  signIn(login) {
    if (this.client) this.client.close()
    this.client = connect({url: login.url, user: login.user, device: 'wx'})
    this.login = login
    wx.setStorageSync('login', login)
  },

  signOut() {
    if (this.client) this.client.close()
    this.client = this.login = null
    wx.removeStorageSync('login')
    wx.reLaunch({url: '/pages/connect/connect'})
  },
})
