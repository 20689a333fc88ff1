// Names of people and rooms: what is allowed, and where the page's address says which.

export const NAME_BYTES = 64
export const ROOM_BYTES = 128 - 'room:'.length

const bytes = (s) => new TextEncoder().encode(s).length

// Control, format, private, surrogate and line-breaking characters, but not the joiners that emoji and
// several scripts need: the server refuses the same.
const INVISIBLE = /[\p{Cc}\p{Co}\p{Cs}\p{Zl}\p{Zp}]|(?![\u200c\u200d])\p{Cf}/u

/** The name tidied up and what is wrong with it: '' | 'empty' | 'long' | 'letters'. */
export function checkName(typed, limit = NAME_BYTES) {
  const name = typed.replace(/[\s\u3000]+/g, ' ').trim()
  const n = bytes(name)
  const wrong = !name ? 'empty' : n > limit ? 'long' : INVISIBLE.test(name) ? 'letters' : ''
  return {name, wrong, n}
}

/** Which room and token the address names: /#room=NAME, /?room=NAME, /#token=… */
export function readAddress(location) {
  const hash = new URLSearchParams(location.hash.slice(1))
  const query = new URLSearchParams(location.search)
  const {name, wrong} = checkName(hash.get('room') || query.get('room') || '', ROOM_BYTES)
  return {room: wrong ? 'lobby' : name, token: (hash.get('token') || '').trim()}
}

/** The link that opens a room; it never holds a token. */
export function roomLink(location, room) {
  return location.origin + location.pathname + roomHash(room)
}

export function roomHash(room) {
  return '#room=' + encodeURIComponent(room)
}
