// What the pages of owners and staff work out by themselves: codes, passes.
import test from 'node:test'
import assert from 'node:assert/strict'
import {readFileSync} from 'node:fs'
import {readScan, groups} from '../web/voucher_code.js'
import {passAt, passLeft} from '../web/pass.js'

const CODE = 'QV5827ACDEFGHJKMNPQRTVWXY22C'

test('a code is read as the server reads it', () => {
  const vectors = JSON.parse(readFileSync(new URL('../../chat/testdata/voucher_codes.json', import.meta.url)))
  for (const {typed, code, wrong, n} of vectors) {
    const want = code ? {code, pass: ''} : n === undefined ? {wrong} : {wrong, n}
    assert.deepEqual(readScan(typed), want, typed)
  }
  assert.equal(groups(CODE).join('-'), 'QV5827A-CDEFGHJ-KMNPQRT-VWXY22C')
})

test('every wrong character and every swap is caught', () => {
  const letters = '23456789ACDEFGHJKMNPQRTVWXY'
  for (let i = 0; i < CODE.length; i++) {
    for (const c of letters) {
      if (c !== CODE[i]) assert.equal(readScan(CODE.slice(0, i) + c + CODE.slice(i + 1)).wrong, 'check')
    }
    for (let j = i + 1; j < CODE.length; j++) {
      const swapped = [...CODE]
      ;[swapped[i], swapped[j]] = [swapped[j], swapped[i]]
      if (CODE[i] !== CODE[j]) assert.equal(readScan(swapped.join('')).wrong, 'check')
    }
  }
})

test('a code with its pass', () => {
  for (const typed of [CODE + '.012345', CODE.toLowerCase() + '。０１２３４５', groups(CODE).join(' ') + ' . 012 345\n']) {
    assert.deepEqual(readScan(typed), {code: CODE, pass: '012345'}, typed)
  }
  for (const typed of [CODE + '.', CODE + '.12345', CODE + '.1234567', CODE + '.12345a', CODE + '.123.45', CODE + '.-12345']) {
    assert.deepEqual(readScan(typed), {wrong: 'pass'}, typed)
  }
  assert.deepEqual(readScan('.123456'), {wrong: 'empty'})
  assert.deepEqual(readScan(CODE.slice(1) + '.123456'), {wrong: 'length', n: 27})
})

// RFC 6238, appendix B: the last six of the eight digits there.
test('the pass is that of RFC 6238', () => {
  const secret = 'GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ' // 12345678901234567890
  for (const [seconds, want] of [
    [59, '287082'], [1111111109, '081804'], [1111111111, '050471'], [1234567890, '005924'], [2000000000, '279037'], [20000000000, '353130'],
  ]) {
    assert.equal(passAt(secret, seconds * 1000), want)
    assert.equal(passAt(secret, Math.floor(seconds / 30) * 30_000), want, 'the first millisecond')
    assert.equal(passAt(secret, Math.floor(seconds / 30) * 30_000 + 29_999), want, 'the last millisecond')
  }
  assert.equal(passLeft(59_000), 1000)
  assert.equal(passLeft(60_000), 30_000)
  assert.throws(() => passAt('GEZDGNB1', 0), /base32/)
})
