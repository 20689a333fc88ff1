// 整个应用只有一个客户端：所有页面共用一条连接。心跳、重连、补发、切后台和回前台，都由 SDK 负责，这里一行也不用写。
// 不放进 data()：它不需要响应式。
// English: one client for the whole app, outside of data(). Heartbeat, reconnect, outbox, sleep and wake are the SDK's.
import {connect} from './teahouse.js'

export const session = {
  client: null,
  login: null, // {url, user}

  // 局域网的 open 模式：报一个名字就能进。
  // 正式环境请用 token 模式，把 user 换成 getToken，由您自己的后端签发（过期后 SDK 会再要一次）：
  //   connect({url, getToken: () => askMyBackend('/teahouse-token')})
  // English: open mode names itself; in token mode give getToken instead of user.
  signIn(login) {
    if (session.client) session.client.close()
    session.client = connect({url: login.url, user: login.user, device: 'uni'})
    session.login = login
    uni.setStorageSync('login', login)
  },

  signOut() {
    if (session.client) session.client.close()
    session.client = session.login = null
    uni.removeStorageSync('login')
    uni.reLaunch({url: '/pages/connect'})
  },
}
