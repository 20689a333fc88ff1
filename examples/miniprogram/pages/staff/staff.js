// 店员核销页：扫码或手输，绿色成功，红色说明原因。
// 最要紧的一点：问之前先把 {code, key} 存好；没有得到回答，就用同一个 key 再问，直到有回答为止。
// English: before asking, the code and its key are stored; without an answer the same key is asked again.
const {clean, right, newKey, post} = require('../../lib/staff')
const {redeemedBy} = require('../../lib/vouchers')
const app = getApp()

let saved // {url, token, staff}；不存 PIN
let timer, asking, onNetwork

Page({
  data: {url: '', name: '', pin: '', staff: null, code: '', result: null, open: null, error: ''},

  onLoad() {
    saved = wx.getStorageSync('staff') || null
    this.setData({
      staff: saved ? saved.staff : null,
      url: saved ? saved.url : app.login ? app.login.url : '',
      open: wx.getStorageSync('redeeming') || null, // 上次没有得到回答的核销
    })
    onNetwork = (res) => res.isConnected && this.settle()
    wx.onNetworkStatusChange(onNetwork)
  },
  onShow() { this.settle() },
  onHide() { clearTimeout(timer) },
  onUnload() {
    clearTimeout(timer)
    wx.offNetworkStatusChange(onNetwork)
  },

  typeUrl(e) { this.setData({url: e.detail.value}) },
  typeName(e) { this.setData({name: e.detail.value}) },
  typePin(e) { this.setData({pin: e.detail.value}) },
  typeCode(e) { this.setData({code: e.detail.value}) },

  async signIn() {
    const {url, name, pin} = this.data
    if (!url.trim() || !name.trim() || !pin) return this.setData({error: '请填写服务器地址、工号和 PIN。'})
    this.setData({error: ''})
    try {
      const {status, data} = await post(url, '/staff/sign-in', {name: name.trim(), pin})
      if (status !== 200) return this.setData({error: data.detail || '登录失败（' + status + '）', pin: ''})
      saved = {url, token: data.token, staff: data.staff}
      wx.setStorageSync('staff', saved)
      this.setData({staff: data.staff, pin: ''})
      this.settle() // 上次的核销还没有结果的话，接着问
    } catch (err) {
      this.setData({error: '连不上服务器：' + err.message})
    }
  },
  signOut() {
    saved = null
    wx.removeStorageSync('staff')
    this.setData({staff: null, result: null})
  },

  scan() {
    wx.scanCode({
      scanType: ['qrCode', 'barCode'],
      success: (res) => this.redeem(res.result),
      fail: (err) => {
        if (!/cancel/.test(err.errMsg)) this.setData({error: '扫码失败，请手动输入。'}) // 取消不是错误
      },
    })
  },
  enterCode() { this.redeem(this.data.code) },

  redeem(text) {
    if (this.data.open) return // 上一张还没有结果
    const code = clean(text)
    if (!right(code)) return this.show('bad', '这不是券码', '请再扫一次，或核对输入：' + String(text).slice(0, 40))
    const open = {code, key: newKey()}
    wx.setStorageSync('redeeming', open)
    this.setData({open, result: null, error: '', code: ''})
    this.settle()
  },

  // 把还没有结果的那一张问清楚。
  async settle() {
    clearTimeout(timer)
    const {open} = this.data
    if (!open || !saved || asking) return
    asking = true
    let answer
    try {
      answer = await post(saved.url, '/vouchers/' + encodeURIComponent(open.code) + '/redeem', {key: open.key}, saved.token)
    } catch (err) {
      // 没有回答：对方可能已经核销，也可能没有收到。用同一个 key 再问。
    }
    asking = false
    if (!answer || answer.status === 429 || answer.status >= 500) {
      this.show('wait', '结果未知，正在重试…', answer ? answer.data.detail || '' : '网络不通。请不要离开，也不要重复收券。')
      timer = setTimeout(() => this.settle(), answer && answer.data.retry_ms || 3000)
      return
    }
    if (answer.status === 401) { // 登录过期：登录后接着问，key 不变
      this.signOut()
      return this.setData({error: answer.data.detail || '请重新登录。'})
    }
    wx.removeStorageSync('redeeming')
    this.setData({open: null})
    this.tell(answer)
  },

  tell({status, data}) {
    const v = data.voucher || {}
    const what = v.name ? v.name + ' · ' + v.owner : ''
    if (status === 200) {
      wx.vibrateShort({type: 'medium'})
      return this.show('good', '核销成功', what)
    }
    wx.vibrateLong({})
    const reason = {voucher_redeemed: '已经核销过了', voucher_void: '已作废', voucher_expired: '已过期', voucher_unknown: '没有这张券'}[data.code] || '不能核销'
    const who = data.redeemed_at ? redeemedBy(data) : data.detail
    this.show('bad', reason, [what, who].filter(Boolean).join('\n'))
  },

  show(kind, title, detail) { this.setData({result: {kind, title, detail}}) },
})
