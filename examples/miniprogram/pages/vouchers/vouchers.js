// 我的券。券的每次变化都是收件箱里的一个事件（voucher.issued、voucher.redeemed …），内容就是这张券。
// 先读历史，再听现场；小程序睡着时发生的事，醒来后 SDK 会补上，走的是同一条路。
// English: each change of a voucher is an event in the inbox, with the voucher as its body: history first, then live.
const {NEWS, card} = require('../../lib/vouchers')
const app = getApp()

// 不上屏幕的东西放在 data 外面：这一页只有一个。
let client, cards, offs

Page({
  data: {cards: [], loading: true, error: ''},

  onLoad() {
    client = app.client
    cards = {}
    const inbox = client.inbox
    offs = [
      inbox.on('event', (ev) => {
        if (!NEWS[ev.kind]) return
        this.put(ev, true)
        this.draw()
        // 一次只能显示一条提示；每张券上还有“新”的标记。
        wx.showToast({title: ev.body.name + '：' + NEWS[ev.kind], icon: ev.kind === 'voucher.redeemed' ? 'success' : 'none'})
        if (ev.kind === 'voucher.redeemed') wx.vibrateShort({type: 'heavy'})
      }),
      inbox.on('reset', () => {
        cards = {}
        this.load()
      }),
    ]
    this.load()
  },

  onUnload() { offs.forEach((off) => off()) },
  onPullDownRefresh() { this.load().then(() => wx.stopPullDownRefresh()) },
  // 离开这一页，就不再算“新”。
  onHide() {
    for (const code in cards) cards[code].fresh = false
    this.draw()
  },

  // 从新到旧读收件箱的历史，最多一千条；券很多的话，请由您的后端列出（GET /api/v1/vouchers?owner=）。
  async load() {
    this.setData({loading: true, error: ''})
    const inbox = client.inbox
    try {
      for (let before, pages = 0; pages < 10; pages++) {
        const page = await inbox.history({before, limit: 100})
        // place：上次运行结束的位置；比它新的，您还没有看过。
        for (const ev of page.events) if (NEWS[ev.kind]) this.put(ev, inbox.place !== undefined && ev.seq > inbox.place)
        if (!page.more || !page.events.length) break
        before = page.events[0].seq
      }
    } catch (err) {
      this.setData({error: err.message})
    }
    this.setData({loading: false})
    this.draw()
  },

  // 同一张券，只留最新的一次变化。
  put(ev, fresh) {
    const old = cards[ev.body.code]
    if (old && old.seq >= ev.seq) return
    cards[ev.body.code] = card(ev.body, ev.seq, fresh || !!(old && old.fresh))
  },

  draw() {
    const order = (c) => (c.status === 'issued' ? 0 : 1) // 能用的在前，新的在前
    this.setData({cards: Object.values(cards).sort((a, b) => order(a) - order(b) || b.issued - a.issued)})
  },

  copy(e) { wx.setClipboardData({data: e.currentTarget.dataset.code}) },
})
