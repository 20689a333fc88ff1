// A voucher's code as people type it and scanners send it: the server reads it in the same way (chat/voucher_code.go,
// with the same vectors in the tests), so that a slip is caught before anything is asked.

const ALPHABET = '23456789ACDEFGHJKMNPQRTVWXY'
const LENGTH = 28
const PRIME = 29
const LOOKALIKES = {B: '8', S: '5', Z: '2', U: 'V', O: 'Q', 0: 'Q'}
const SKIPPED = /[\s\p{Pd}\u0085\u00ad\u200b\ufeff\u2212]/u

/**
 * {code, pass} of `CODE` or `CODE.NNNNNN`, pass '' where there is none; or {wrong, n}: 'empty', 'letters' (what no
 * code has), 'one' (a 1, I or L), 'length' (n of 28), 'check' (a slip), 'pass' (not six digits).
 */
export function readScan(text) {
  const plain = [...text].map(halfWidth).join('')
  const dot = plain.indexOf('.')
  const read = readCode(dot < 0 ? plain : plain.slice(0, dot))
  if (read.wrong) return read
  const pass = dot < 0 ? '' : plain.slice(dot + 1).replace(/\s/g, '')
  if (dot >= 0 && !/^[0-9]{6}$/.test(pass)) return {wrong: 'pass'}
  return {code: read.code, pass}
}

function readCode(text) {
  let code = ''
  let sum = 0
  for (const c of text) {
    if (SKIPPED.test(c)) continue
    const big = c.length === 1 && c < '\u0080' ? c.toUpperCase() : c
    const value = ALPHABET.indexOf(LOOKALIKES[big] || big)
    if (value < 0) return {wrong: '1IL'.includes(big) ? 'one' : 'letters'}
    code += ALPHABET[value]
    sum += code.length * value
  }
  if (!code) return {wrong: 'empty'}
  if (code.length !== LENGTH) return {wrong: 'length', n: code.length}
  return sum % PRIME ? {wrong: 'check'} : {code}
}

// An input method writes full-width letters, and its own full stop.
function halfWidth(c) {
  if (c === '。') return '.'
  return c >= '！' && c <= '～' ? String.fromCharCode(c.charCodeAt(0) - 0xfee0) : c
}

/** The code in groups of seven, for people. */
export const groups = (code) => code.match(/.{1,7}/g) || []
