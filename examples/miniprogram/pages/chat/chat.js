// 聊天页。SDK 保证：不丢、不重、按顺序。页面只管把它给的东西画出来。
// English: the SDK delivers each message once and in order; the page only draws.
const {ofEvent, ofOutbox, put, stateWords} = require('../../lib/lines')
const app = getApp()

Page({
  data: {lines: [], state: '', draft: '', more: true},

  onLoad() {
    const client = app.client
    const room = client.room('lobby') // 名为 lobby 的聊天室；先带来最近 50 条
    this.client = client
    this.room = room
    this.lines = []
    this.here = [] // 谁在线
    this.follow = true // 新消息来了就滚到最下面
    this.offs = [
      client.on('state', () => this.draw()),
      client.on('error', (err) => wx.showToast({title: err.message, icon: 'none'})),
      room.on('message', (ev) => this.put(ofEvent(ev, client.user))),
      // 自己发的：pending（在路上）、sent（服务器已存盘）、failed（服务器拒绝）。
      room.on('outbox', (item) => this.put(ofOutbox(item, client.user))),
      // 接不上了（换了服务器，或离开太久）：清空，最新的一页马上就到。
      room.on('reset', () => {
        this.lines = this.lines.filter((l) => l.state !== 'sent')
        this.setData({more: true})
        this.draw()
      }),
      // 每次（重新）进入聊天室后，问一次谁在线；以后有人来去，服务器会说。
      room.on('joined', () => room.presence().then((users) => this.present(users), () => {})),
      room.on('online', (e) => this.present(this.here.filter((u) => u !== e.user).concat(e.online ? e.user : []))),
      room.on('error', (err) => wx.showToast({title: err.message, icon: 'none'})),
    ]
    // 上次没发出去的（小程序被杀掉也还在），SDK 会接着发，这里先显示出来。
    for (const item of client.outbox) if (item.topic === room.topic) put(this.lines, ofOutbox(item, client.user))
    this.draw()
  },

  onUnload() {
    this.offs.forEach((off) => off())
    clearTimeout(this.timer)
  },

  put(line) {
    put(this.lines, line)
    this.draw()
  },

  present(users) {
    this.here = users
    this.draw()
  },

  // 一口气来了很多条，也只 setData 一次。 Many messages at once, one setData.
  draw() {
    if (this.timer) return
    this.timer = setTimeout(() => {
      this.timer = 0
      this.setData({lines: this.lines, state: stateWords(this.client.state, this.here.length)})
      if (this.follow) wx.pageScrollTo({selector: '#end', duration: 0})
    }, 30)
  },

  type(e) { this.setData({draft: e.detail.value}) },

  send() {
    const text = this.data.draft.trim()
    if (!text) return
    this.follow = true
    this.setData({draft: ''})
    // 结果会从 outbox 事件来，所以这里不用等。没有网络也可以发：有网了自动补发，不会重复。
    this.room.send({text}).catch(() => {})
  },

  // 点一下失败的消息：重发；长按：删除。
  again(e) { this.client.resend(e.currentTarget.dataset.id).catch(() => {}) },
  remove(e) {
    const id = e.currentTarget.dataset.id
    this.client.discard(id)
    this.lines = this.lines.filter((l) => l.id !== id)
    this.draw()
  },

  // 下拉：更早的消息
  onPullDownRefresh() {
    const first = this.lines.find((l) => l.seq)
    this.follow = false
    this.room.history({before: first && first.seq, limit: 20}).then((page) => {
      for (const ev of page.events) if (ev.kind === 'message') put(this.lines, ofEvent(ev, this.client.user))
      this.setData({more: page.more})
      this.draw()
    }).catch((err) => wx.showToast({title: err.message, icon: 'none'})).then(() => wx.stopPullDownRefresh())
  },
  onReachBottom() { this.follow = true },

  tapState() {
    const name = this.client.state.name
    if (name === 'live') wx.showModal({title: '在线', content: this.here.join('、') || '没有人', showCancel: false})
    else this.client.retry()
  },
  signOut() { app.signOut() },
})
