// Names of people and rooms: what is allowed, and where the page's address says which.

export const LOBBY = 'room:lobby'
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

/** What is wrong with the code of a room: '' | 'code_short'. An empty one is none. */
export const checkCode = (code) => (code && ([...code].length < 4 || [...code].length > 64) ? 'code_short' : '')

/**
 * Which room or person and which token the address names: /#room=NAME, /?room=NAME, /#talk=NAME, /#token=…
 * A name that is none counts as none. /#name=NAME&secret=… is of the person's other device: see nameLink.
 */
export function readAddress(location) {
  const hash = new URLSearchParams(location.hash.slice(1))
  const query = new URLSearchParams(location.search)
  const named = (typed, limit) => {
    const {name, wrong} = checkName(typed || '', limit)
    return wrong ? '' : name
  }
  const talk = named(hash.get('talk'), NAME_BYTES)
  // ?room= is of a link that was printed: once inside, the hash says where one is.
  const room = talk ? '' : named(hash.get('room') || (hash.has('rooms') ? '' : query.get('room')), ROOM_BYTES)
  const secret = /^[\w-]{16,128}$/.test(hash.get('secret') || '') ? hash.get('secret') : ''
  return {room, talk, token: (hash.get('token') || '').trim(), name: secret && named(hash.get('name'), NAME_BYTES), secret}
}

/** The link that opens a room; it never holds a token. */
export function roomLink(location, room) {
  return location.origin + location.pathname + roomHash(room)
}

/** The link that makes another device of its own person one who has the name. */
export function nameLink(location, name, secret) {
  return location.origin + location.pathname + '#name=' + encodeURIComponent(name) + '&secret=' + secret
}

export const LIST_HASH = '#rooms'

export const roomHash = (room) => '#room=' + encodeURIComponent(room)

export const talkHash = (user) => '#talk=' + encodeURIComponent(user)

/** The two people of a talk's topic: dm:A:B. */
export const talkers = (topic) => topic.split(':').slice(1).map((s) => s.replace(/%3A/g, ':').replace(/%25/g, '%'))
