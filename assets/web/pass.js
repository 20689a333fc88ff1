// The rotating pass: a one-time number from the voucher's secret and the time (RFC 6238: HMAC-SHA1, 30 s, six digits).
// It is made here, without the network. crypto.subtle is missing on plain http, so the hash is a library's.
import {hmacSHA1} from './vendor/hmac-sha1.js'

const STEP = 30_000
const BASE32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'

/** The number of secret (base32) at a time of the server's clock, in ms since 1970. */
export function passAt(secret, at) {
  const counter = new DataView(new ArrayBuffer(8))
  const step = Math.floor(at / STEP)
  counter.setUint32(0, Math.floor(step / 2 ** 32))
  counter.setUint32(4, step % 2 ** 32)
  const mac = hmacSHA1(fromBase32(secret), new Uint8Array(counter.buffer))
  const view = new DataView(mac.buffer, mac.byteOffset, mac.length)
  const number = (view.getUint32(mac[mac.length - 1] & 15) & 0x7fffffff) % 1_000_000
  return String(number).padStart(6, '0')
}

/** How long the number of this moment is the newest, in ms. */
export const passLeft = (at) => STEP - at % STEP

function fromBase32(text) {
  const bytes = []
  let bits = 0
  let held = 0
  for (const c of text) {
    const value = BASE32.indexOf(c)
    if (value < 0) throw new RangeError('the secret of a pass is not base32')
    held = (held << 5 | value) & 0xfff
    bits += 5
    if (bits >= 8) bytes.push(held >> (bits -= 8) & 255)
  }
  return new Uint8Array(bytes)
}
