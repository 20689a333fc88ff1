// How many of what cameras see is read by what the staff page reads with (scan.js), on pictures made here.
import test from 'node:test'
import assert from 'node:assert/strict'
import {encodeQR} from '../web/vendor/qr-make.js'
import {readPixels} from '../web/scan.js'
import {picture, random} from './pictures.mjs'

const EACH = 16
const ALPHABET = '23456789ACDEFGHJKMNPQRTVWXY'

// What is made of each, and how many of EACH must be read: all of them are, but the hard kinds have a margin of two.
const kinds = {
  'as it is': [() => ({}), 16],
  rotated: [(r) => ({turn: r() * 360}), 16],
  blurred: [(r) => ({blur: 1.6 + r() * 0.8}), 16],
  'strongly blurred': [(r) => ({blur: 2.6 + r() * 0.6}), 14],
  dim: [(r) => ({dark: 8, light: 36 + r() * 10, noise: 3}), 16],
  noisy: [() => ({noise: 30}), 16],
  'small: 2.3 to 2.9 pixels a module': [(r) => ({size: 80 + r() * 20, blur: 0.4}), 14],
  'from the side': [(r) => ({tilt: 0.2 + r() * 0.3, turn: r() * 360, size: 220}), 14],
  'half in the shade': [(r) => ({shade: 0.85, turn: r() * 40}), 16],
  'off a screen, with its pixels': [(r) => ({grid: 0.6, turn: r() * 20 - 10, blur: 0.5, noise: 6}), 16],
  'light on dark': [(r) => ({invert: true, turn: r() * 20}), 16],
  'all of it a little': [(r) => ({turn: r() * 60 - 30, tilt: r() * 0.3, blur: 0.8 + r() * 0.6, noise: 8, dark: 30, light: 150, shade: 0.4}), 14],
}

for (const [kind, [how, least]] of Object.entries(kinds)) {
  test(`pictures that are ${kind}`, (t) => {
    let read = 0
    for (let i = 0; i < EACH; i++) {
      const rnd = random(1000 * i + kind.length)
      const code = Array.from({length: 28}, () => ALPHABET[Math.floor(rnd() * 27)]).join('')
      const text = code + '.' + String(Math.floor(rnd() * 1e6)).padStart(6, '0')
      const got = readPixels(picture(encodeQR(text, 'raw', {ecc: 'medium', border: 4}), how(rnd), rnd))
      if (got === text) read++
      else assert.equal(got, '', 'something else was read')
    }
    t.diagnostic(`${read} of ${EACH}`)
    assert.ok(read >= least, `${read} of ${EACH} were read, want ${least}`)
  })
}

test('where there is no code none is read', () => {
  const rnd = random(7)
  const chess = Array.from({length: 35}, (_, y) => Array.from({length: 35}, (_, x) => (x + y) % 2 === 0))
  assert.equal(readPixels(picture(chess, {noise: 20}, rnd)), '')
  assert.equal(readPixels({width: 1, height: 1, data: new Uint8ClampedArray(4)}), '')
})
