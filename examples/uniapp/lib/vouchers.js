// 一张券怎么显示。 How a voucher is shown.
const STATUS = {issued: '可使用', redeemed: '已核销', void: '已作废', expired: '已过期'}

// 收件箱里和券有关的事件，和它们的一句话。
const NEWS = {
  'voucher.issued': '收到一张新券',
  'voucher.redeemed': '已核销',
  'voucher.reversed': '核销已撤销',
  'voucher.void': '已作废',
  'voucher.expired': '已过期',
}

function when(at) {
  const two = (n) => (n < 10 ? '0' + n : '' + n)
  const d = new Date(at)
  return d.getMonth() + 1 + '月' + d.getDate() + '日 ' + two(d.getHours()) + ':' + two(d.getMinutes())
}

// 谁、何时、何处核销的
function redeemedBy(v) {
  return when(v.redeemed_at) + (v.station ? ' 于 ' + v.station : '') + (v.redeemed_by ? ' 经手 ' + v.redeemed_by : '')
}

// 一张券 -> 页面上的一张卡片。券码七个一组，好念。
function card(v, seq, fresh) {
  let detail = v.expires_at ? '有效期至 ' + when(v.expires_at) : ''
  if (v.status === 'redeemed') detail = redeemedBy(v)
  const groups = String(v.code).replace(/.{7}(?=.)/g, '$&-')
  return {code: v.code, groups, name: String(v.name), status: v.status, words: STATUS[v.status] || String(v.status), detail, issued: v.issued_at, seq, fresh}
}

export {NEWS, card, redeemedBy}
