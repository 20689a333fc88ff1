// What is in a text: links, code, mentions, emoji. It only says where; the page shows all of it as text.

/** @typedef {{kind: 'text'|'link'|'code'|'block'|'mention', text: string, href?: string}} Piece */

// A link ends at a space, at what no address has, and at Chinese and Japanese letters and marks: people write
// right behind it, without a space. (Browsers copy such letters in an address as %E8….)
const ADDRESS = /\bhttps?:\/\/[^\s<>"'`{}|\\^\u2018-\u201f\u2026\u3000-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\ufe30-\ufe4f\uff00-\uffef]+/gi
const CLOSING = {')': '(', ']': '['}

/** Where the links of a text are; only http and https are links, and only where the browser agrees. */
export function findLinks(text) {
  const found = []
  for (const {0: whole, index} of text.matchAll(ADDRESS)) {
    const address = withoutTail(whole)
    const href = safeAddress(address)
    if (href) found.push({start: index, end: index + address.length, href})
  }
  return found
}

/** Without the marks of the sentence around it. A bracket stays if it was opened within the address. */
function withoutTail(address) {
  let end = address.length
  for (; end > 0; end--) {
    const last = address[end - 1]
    if (/[.,;:!?*_~]/.test(last)) continue
    const open = CLOSING[last]
    if (!open) break
    const part = address.slice(0, end)
    if (part.split(open).length >= part.split(last).length) break
  }
  return address.slice(0, end)
}

/** The address as the browser reads it, or '' if one should not be sent there by a click. */
export function safeAddress(address) {
  let url
  try {
    url = new URL(address)
  } catch (err) {
    return ''
  }
  // A name before the host is there to make it look like another host.
  return /^https?:$/.test(url.protocol) && url.hostname && !url.username && !url.password ? url.href : ''
}

/** Where "@name" stands for these names; the longest name wins. */
export function findMentions(text, names) {
  if (!names.length || !text.includes('@')) return []
  const order = [...names].sort((a, b) => b.length - a.length)
  const found = []
  for (let at = text.indexOf('@'); at >= 0; at = text.indexOf('@', at + 1)) {
    const name = order.find((n) => n && text.startsWith(n, at + 1) && endsThere(text, at + 1 + n.length))
    if (!name || inAddress(text, at)) continue
    found.push({start: at, end: at + 1 + name.length, name})
    at += name.length
  }
  return found
}

/** "@bob" is not in "@bobby", but it is in "@bob你好": only letters of one kind make one word. */
function endsThere(text, end) {
  return !(/[\w.-]/.test(text[end - 1]) && /\w/.test(text[end] || ''))
}

/** The @ of alice@example.org calls nobody. */
const inAddress = (text, at) => at > 0 && /[\w.+-]/.test(text[at - 1])

/** @returns {Piece[]} the text in pieces: together they are all of it, but for the marks of code. */
export function pieces(text, names = []) {
  const out = []
  let from = 0
  for (const m of text.matchAll(/```(?:[\w+#.-]*\n)?([^]*?)```|`([^`\n]+)`/g)) {
    const block = m[1] !== undefined
    if (block && !m[1].trim()) continue
    out.push(...plain(text.slice(from, m.index), names))
    out.push({kind: block ? 'block' : 'code', text: block ? m[1].replace(/^\n|\n$/g, '') : m[2]})
    from = m.index + m[0].length
    if (block && text[from] === '\n') from++ // the block ends its own line
  }
  out.push(...plain(text.slice(from), names))
  return out
}

function plain(text, names) {
  const marks = [
    ...findLinks(text).map((l) => ({...l, kind: 'link'})),
    ...findMentions(text, names).map((m) => ({...m, kind: 'mention'})),
  ].sort((a, b) => a.start - b.start)
  const out = []
  let from = 0
  for (const {start, end, kind, href} of marks) {
    if (start < from) continue // an @ within a link
    if (start > from) out.push({kind: 'text', text: text.slice(from, start)})
    out.push(href ? {kind, text: text.slice(start, end), href} : {kind, text: text.slice(start, end)})
    from = end
  }
  if (from < text.length) out.push({kind: 'text', text: text.slice(from)})
  return out
}

// One emoji: a flag, a flag of a region, a keycap, or a picture with its skin tone and what is joined to it.
const PICTURE = '(?:\\p{Emoji_Modifier_Base}\\p{Emoji_Modifier}|\\p{Extended_Pictographic}\\ufe0f|(?!\\p{RI})\\p{Emoji_Presentation})'
const JOINED = '(?:\\u200d\\p{Extended_Pictographic}(?:\\ufe0f|\\p{Emoji_Modifier})?)'
const EMOJI = new RegExp(`\\p{RI}\\p{RI}|\\u{1f3f4}[\\u{e0020}-\\u{e007e}]+\\u{e007f}|[0-9#*]\\ufe0f?\\u20e3|${PICTURE}${JOINED}*`, 'gu')

/** How many emoji a text is made of; 0 if there is anything else in it but spaces. */
export function onlyEmoji(text) {
  if (text.length > 200) return 0
  let n = 0
  const rest = text.replace(EMOJI, () => (n++, ''))
  return rest.trim() ? 0 : n
}

/** The bytes of a text as UTF-8. */
export function byteLength(text) {
  let n = text.length
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i)
    if (c < 0x80) continue
    n += c < 0x800 ? 1 : 2
    if (c >= 0xd800 && c < 0xdc00 && (text.charCodeAt(i + 1) & 0xfc00) === 0xdc00) i++ // two units, four bytes
  }
  return n
}

/** A size for people: 640 B, 1.5 MB. The units of one thousand that file managers use. */
export function sizeText(n) {
  if (!(n >= 0)) return ''
  const units = ['B', 'kB', 'MB', 'GB', 'TB']
  let i = 0
  while (n >= 999.5 && i < units.length - 1) {
    n /= 1000
    i++
  }
  return `${n < 9.95 && i ? Math.round(n * 10) / 10 : Math.round(n)} ${units[i]}`
}

/** 83000 ms are 1:23. */
export function durationText(ms) {
  const s = Math.max(0, Math.round(ms / 1000))
  const h = Math.floor(s / 3600)
  const m = Math.floor(s / 60) % 60
  const two = (n) => String(n).padStart(2, '0')
  return (h ? h + ':' + two(m) : m) + ':' + two(s % 60)
}
