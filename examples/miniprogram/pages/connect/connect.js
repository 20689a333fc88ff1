// 连接页：在局域网里搜索服务器；搜不了的手机（iOS 微信 7.0.18 起）就自己填地址。
// English: finds servers in the LAN where the phone can; else there is the address field.
const {discover} = require('../../lib/teahouse')
const app = getApp()

Page({
  data: {url: '', user: '', found: [], searching: false, hint: '', error: ''},

  onLoad() {
    // 登录过：直接进聊天（app.js 已经在连接了）。
    if (app.client) wx.switchTab({url: '/pages/chat/chat'})
    else this.search()
  },

  search() {
    this.setData({searching: true, hint: ''})
    discover().then(
      (found) => this.setData({found, searching: false, hint: found.length ? '' : '没有搜到，请填写地址。'}),
      (err) => this.setData({searching: false, hint: err.code === 'unsupported' ? '这部手机不能搜索局域网，请填写地址。' : '搜索失败，请填写地址。'}),
    )
  },

  typeUrl(e) { this.setData({url: e.detail.value}) },
  typeUser(e) { this.setData({user: e.detail.value}) },
  choose(e) { this.setData({url: e.currentTarget.dataset.url}) },

  enter() {
    const url = this.data.url.trim()
    const user = this.data.user.trim()
    if (!url || !user) return this.setData({error: '请填写服务器地址和您的名字。'})
    try {
      app.signIn({url, user})
    } catch (err) {
      return this.setData({error: '地址不对：' + err.message})
    }
    wx.switchTab({url: '/pages/chat/chat'})
  },
})
