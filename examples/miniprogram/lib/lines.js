// 聊天记录的一行行：按 seq 排序，还没发出的排在最后；同一条消息（id 相同）只占一行。
// English: the lines of a chat, by seq; what is not sent yet comes last; one line for each message.

function clock(at) {
  const two = (n) => (n < 10 ? '0' + n : '' + n)
  const d = new Date(at)
  return two(d.getHours()) + ':' + two(d.getMinutes())
}

// 别人发什么都有可能，所以只当作文字显示。 Whatever others sent is shown as text.
function words(body) {
  return body && typeof body.text === 'string' ? body.text : JSON.stringify(body) || ''
}

// 服务器来的事件 -> 一行
function ofEvent(ev, me) {
  const mine = ev.from === me
  return {id: mine && ev.key ? ev.key : 's' + ev.seq, seq: ev.seq, mine, from: ev.from, text: words(ev.body), time: clock(ev.at), state: 'sent'}
}

// 发件箱的一项 -> 一行
function ofOutbox(item, me) {
  return {id: item.key, seq: item.seq || 0, mine: true, from: me, text: words(item.body), time: clock(item.at),
    state: item.state, error: item.error ? item.error.message : ''}
}

function put(lines, line) {
  const rank = (l) => l.seq || Infinity
  const old = lines.findIndex((l) => l.id === line.id)
  if (old >= 0 && rank(lines[old]) === rank(line)) return void (lines[old] = line)
  if (old >= 0) lines.splice(old, 1)
  let i = lines.length
  while (i > 0 && rank(lines[i - 1]) > rank(line)) i--
  lines.splice(i, 0, line)
}

// 连接状态 -> 一句话
function stateWords(s, online) {
  if (s.name === 'live') return '已连接 · ' + online + ' 人在线'
  if (s.name === 'waiting') return '连接断了，' + Math.max(1, Math.round(s.delay / 1000)) + ' 秒后重连，点此立即重连'
  if (s.name === 'closed') return '已断开：' + s.reason
  return '连接中…'
}

module.exports = {ofEvent, ofOutbox, put, stateWords}
