// What the body of a message says. Anybody may send anything: what is not of the right form is left out.

const ID = /^[\w-]{8,128}$/
const PICTURE = /^image\/(?:png|jpe?g|gif|webp|avif|bmp)$/
const PLAYED = /^(audio|video)\/[\w.+-]+$/

const isObject = (x) => x !== null && typeof x === 'object' && !Array.isArray(x)
const size = (n, most) => (typeof n === 'number' && n > 0 && n <= most ? n : 0)
const line = (s, most) => (typeof s === 'string' ? s.slice(0, most) : '')

/**
 * A file of a message. view: how it is shown. url is '' while it is not on the server.
 * @typedef {{id: string, name: string, type: string, size: number, width: number, height: number, duration: number,
 *   url: string, thumb: string, view: 'picture'|'voice'|'audio'|'video'|'file'}} FileOf
 */

/** @returns {{text: string|undefined, recalled: boolean, reply: {seq: number, from: string, text: string}|null, mentions: string[], file: FileOf|null}} */
export function readBody(body) {
  const b = isObject(body) ? body : {}
  return {
    recalled: b.recalled === true,
    text: typeof b.text === 'string' ? b.text : undefined,
    reply: readReply(b.reply),
    mentions: Array.isArray(b.mentions) ? b.mentions.filter((n) => typeof n === 'string' && n).slice(0, 50) : [],
    file: readFile(b.file),
  }
}

function readReply(r) {
  if (!isObject(r) || !Number.isSafeInteger(r.seq) || r.seq < 1) return null
  return {seq: r.seq, from: line(r.from, 64), text: line(r.text, 200)}
}

function readFile(f) {
  if (!isObject(f)) return null
  const id = typeof f.id === 'string' && ID.test(f.id) ? f.id : ''
  const name = line(f.name, 255) || '?'
  const type = line(f.type, 100).toLowerCase().replace(/;.*/, '').trim()
  const duration = size(f.duration_ms, 86_400_000)
  const played = PLAYED.exec(type)
  return {
    id, name, type, duration,
    size: size(f.size, Number.MAX_SAFE_INTEGER),
    width: Math.round(size(f.width, 100_000)), height: Math.round(size(f.height, 100_000)),
    url: id && fileAddress(id, name),
    thumb: typeof f.thumb === 'string' && ID.test(f.thumb) ? fileAddress(f.thumb, 'thumb') : '',
    view: PICTURE.test(type) ? 'picture' : !played ? 'file' : played[1] === 'video' ? 'video' : duration ? 'voice' : 'audio',
  }
}

/** Where the server has it. The name is for whoever saves it; the id alone decides. */
export const fileAddress = (id, name) => `/files/${id}/${encodeURIComponent(wellFormed(name))}`

// Half a surrogate pair cannot be in an address.
const wellFormed = (s) => s.replace(/\p{Cs}/gu, '\ufffd')

/** The caption of a file: its text, unless that is only its name for clients that show no files. */
export const captionOf = ({text, file}) => (file && text === file.name ? '' : text || '')

/** The first letters of a text on one line: for quotes and lists. Never half a letter. */
export function oneLine(text, most = 100) {
  const letters = [...text.slice(0, 4 * most).replace(/\s+/g, ' ').trim()]
  return letters.length > most ? letters.slice(0, most - 1).join('') + '…' : letters.join('')
}

/** The box of a picture of this size: as large as it is, but within the most, and never a thread. */
export function box({width, height}, mostWidth, mostHeight) {
  if (!width || !height) return {width: Math.min(240, mostWidth), height: Math.min(180, mostHeight)}
  const scale = Math.min(1, mostWidth / width, mostHeight / height)
  return {width: Math.max(48, Math.round(width * scale)), height: Math.max(48, Math.round(height * scale))}
}
