// 聊天页。SDK 保证：不丢、不重、按顺序。页面只管把它给的东西画出来。
// English: the SDK delivers each message once and in order; the page only draws.
const {ofEvent, ofOutbox, put, stateWords} = require('../../lib/lines')
const app = getApp()
const say = (err) => wx.showToast({title: err.message, icon: 'none'})

// 不上屏幕的东西放在 data 外面：聊天页只有一个。
let client, room, lines, here, offs, follow, timer

Page({
  data: {lines: [], state: '', draft: '', more: true},

  onLoad() {
    client = app.client
    room = client.room('lobby') // 名为 lobby 的聊天室；先带来最近 50 条
    lines = []
    here = [] // 谁在线
    follow = true // 新消息来了就滚到最下面
    offs = [
      client.on('state', () => this.draw()),
      client.on('error', say),
      room.on('message', (ev) => this.put(ofEvent(ev, client.user))),
      // 自己发的：pending（在路上）、sent（服务器已存盘）、failed（服务器拒绝）。
      room.on('outbox', (item) => this.put(ofOutbox(item, client.user))),
      // 接不上了（换了服务器，或离开太久）：清空，最新的一页马上就到。
      room.on('reset', () => {
        lines = lines.filter((l) => l.state !== 'sent')
        this.setData({more: true})
        this.draw()
      }),
      // 每次（重新）进入聊天室后，问一次谁在线；以后有人来去，服务器会说。
      room.on('joined', () => room.presence().then((users) => this.present(users), () => {})),
      room.on('online', (e) => this.present(here.filter((u) => u !== e.user).concat(e.online ? e.user : []))),
      room.on('error', say),
    ]
    // 上次没发出去的（小程序被杀掉也还在），SDK 会接着发，这里先显示出来。
    for (const item of client.outbox) if (item.topic === room.topic) put(lines, ofOutbox(item, client.user))
    this.draw()
  },

  onUnload() {
    offs.forEach((off) => off())
    clearTimeout(timer)
    timer = 0
  },

  put(line) {
    put(lines, line)
    this.draw()
  },

  present(users) {
    here = users
    this.draw()
  },

  // 一口气来了很多条，也只 setData 一次。 Many messages at once, one setData.
  draw() {
    if (timer) return
    timer = setTimeout(() => {
      timer = 0
      this.setData({lines, state: stateWords(client.state, here.length)})
      if (follow) wx.pageScrollTo({selector: '#end', duration: 0})
    }, 30)
  },

  type(e) { this.setData({draft: e.detail.value}) },

  send() {
    const text = this.data.draft.trim()
    if (!text) return
    follow = true
    this.setData({draft: ''})
    // 进展从 outbox 事件来，所以这里不用等。没有网络也可以发：有网了自动补发，不会重复。
    room.send({text}).catch((err) => err.code === 'closed' || say(err))
  },

  // 点一下失败的消息：重发；长按：删除。
  again(e) { client.resend(e.currentTarget.dataset.id).catch(() => {}) },
  remove(e) {
    const id = e.currentTarget.dataset.id
    client.discard(id)
    lines = lines.filter((l) => l.id !== id)
    this.draw()
  },

  // 下拉：更早的消息
  onPullDownRefresh() {
    const first = lines.find((l) => l.seq)
    follow = false
    room.history({before: first && first.seq, limit: 20}).then((page) => {
      for (const ev of page.events) if (ev.kind === 'message') put(lines, ofEvent(ev, client.user))
      this.setData({more: page.more})
      this.draw()
    }).catch(say).then(() => wx.stopPullDownRefresh())
  },
  onReachBottom() { follow = true },

  tapState() {
    const name = client.state.name
    if (name === 'live') wx.showModal({title: '在线', content: here.join('、') || '没有人', showCancel: false})
    else client.retry()
  },
  signOut() { app.signOut() },
})
