// 店员的两个 HTTP 调用，和券码的检查。 Two HTTP calls for staff, and the check of a code.
const LETTERS = '23456789ACDEFGHJKMNPQRTVWXY'
const ALIKE = {B: '8', S: '5', Z: '2', U: 'V', O: 'Q', 0: 'Q'}

// 手输的券码：大小写、空格、横线都没关系，看错的字母也换回来。
function clean(text) {
  return String(text).toUpperCase().replace(/[\s\-‐-―]/g, '').replace(/[BSZUO0]/g, (c) => ALIKE[c])
}

// 最后一位是校验位：输错了不用问服务器就知道。 The last character checks the others.
function right(code) {
  let sum = 0
  for (let i = 0; i < code.length; i++) {
    const value = LETTERS.indexOf(code[i])
    if (value < 0) return false
    sum += (i + 1) * value
  }
  return code.length === 28 && sum % 29 === 0
}

// 192.168.1.5:8040、ws://…/ws、https://… -> 接口地址
function base(url) {
  const u = url.trim().replace(/\/+$/, '').replace(/\/ws$/, '').replace(/^ws(s?):/i, 'http$1:')
  return (/^https?:/i.test(u) ? u : 'http://' + u) + '/api/v1'
}

// 每次核销一个 key：网络断了再问一次，用同一个 key，就不会核销两次。
function newKey() {
  const part = () => Math.random().toString(36).slice(2, 12)
  return 'wx-' + Date.now().toString(36) + '-' + part() + part()
}

// 有回答（不管是不是好消息）就 resolve({status, data})；没有回答才 reject：这时不知道对方收到没有。
function post(url, path, data, token) {
  const header = {'Content-Type': 'application/json', 'Accept-Language': 'zh-CN'}
  if (token) header.Authorization = 'Bearer ' + token
  return new Promise((resolve, reject) => wx.request({
    url: base(url) + path, method: 'POST', data, header, timeout: 10000,
    success: (res) => resolve({status: res.statusCode, data: res.data || {}}),
    fail: (err) => reject(new Error(err.errMsg)),
  }))
}

module.exports = {clean, right, newKey, post}
