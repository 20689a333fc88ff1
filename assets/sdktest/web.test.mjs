// The chat page's parts that need no browser.
import test from 'node:test'
import assert from 'node:assert/strict'
import {readFileSync, readdirSync} from 'node:fs'
import {Socket} from '../web/socket.js'
import {checkName, readAddress, roomLink, nameLink, talkers, ROOM_BYTES} from '../web/names.js'

const web = new URL('../web/', import.meta.url)
const source = (name) => readFileSync(new URL(name, web), 'utf8')

// The texts of all pages: each part has its own, and no name twice.
const strings = {zh: {}, en: {}}
for (const name of readdirSync(web).filter((n) => /^strings(_\w+)?\.js$/.test(n))) {
  const [texts] = Object.values(await import(new URL(name, web)))
  for (const [lang, all] of Object.entries(texts)) {
    for (const [key, text] of Object.entries(all)) {
      assert.ok(!(key in strings[lang]), `${key} stands twice, the second time in ${name}`)
      strings[lang][key] = text
    }
  }
}

test('both languages have the same texts, with the same blanks', () => {
  assert.deepEqual(Object.keys(strings.zh).sort(), Object.keys(strings.en).sort())
  for (const key of Object.keys(strings.zh)) {
    const blanks = (lang) => [...new Set([strings[lang][key]].flat().join().match(/\{\w+\}/g))].sort()
    assert.deepEqual(blanks('zh'), blanks('en'), key)
    assert.ok([strings.zh[key], strings.en[key]].flat().every((s) => s.trim()), key)
  }
})

const isTexts = (name) => /^strings(_\w+)?\.js$/.test(name)
const code = readdirSync(web).filter((n) => n.endsWith('.js') && !isTexts(n)).map(source).join('\n')

test('every text that the pages ask for exists, and every one that exists is asked for', () => {
  const html = readdirSync(web).filter((n) => n.endsWith('.html')).map(source).join('\n')
  const asked = new Set([
    ...[...html.matchAll(/data-t(?:-label|-placeholder)?="(\w+)"/g)].map((m) => m[1]),
    ...[...code.matchAll(/'([a-z]+(?:_[a-z0-9]+)*)'/g)].map((m) => m[1]),
  ])
  for (const m of html.matchAll(/data-t(?:-label|-placeholder)?="(\w+)"/g)) assert.ok(strings.en[m[1]], m[1])
  for (const m of code.matchAll(/\bt\('(\w+)'[,)]/g)) assert.ok(strings.en[m[1]], m[1])
  const made = [...code.matchAll(/'([a-z]+_[a-z_]*_|[a-z]{2,}_)' \+/g)].map((m) => m[1]) // names that are put together
  for (const key of Object.keys(strings.en)) assert.ok(asked.has(key) || made.some((m) => key.startsWith(m)), `${key} is not used`)
})

test('no text of the pages stands outside the two languages', () => {
  const bare = code.replace(/\/\/.*|\/\*[^]*?\*\//g, '')
  assert.deepEqual([...new Set(bare.match(/'[^'\n]*[\u4e00-\u9fff][^'\n]*'/g))], ["'茶'"]) // the house's own initial
})

test('names: tidied up, and refused with a reason', () => {
  const ok = {' 阿明 ': '阿明', 'a\u3000 b\tc': 'a b c', '👩‍🌾': '👩‍🌾', [`<b>&"'`]: `<b>&"'`, ['x'.repeat(64)]: 'x'.repeat(64)}
  for (const [typed, name] of Object.entries(ok)) assert.deepEqual([checkName(typed).name, checkName(typed).wrong], [name, ''], typed)
  const bad = {'': 'empty', ' \u3000\n': 'empty', ['茶'.repeat(22)]: 'long', 'a\u0007b': 'letters', 'a\u202eb': 'letters', 'a\u200bb': 'letters', '\ue000': 'letters'}
  for (const [typed, wrong] of Object.entries(bad)) assert.equal(checkName(typed).wrong, wrong, JSON.stringify(typed))
})

test('the address: a room by hash or query, a person, a token, and a link that opens the room', () => {
  const at = (url) => new URL(url, 'http://tea.test/')
  const none = {room: '', talk: '', token: '', name: '', secret: ''}
  assert.deepEqual(readAddress(at('/')), none)
  assert.deepEqual(readAddress(at('/?room=a')), {...none, room: 'a'})
  assert.deepEqual(readAddress(at('/?room=a#rooms')), none)
  assert.deepEqual(readAddress(at('/?room=a#room=b&token=x.y.z')), {...none, room: 'b', token: 'x.y.z'})
  assert.deepEqual(readAddress(at('/#talk=bob&room=b')), {...none, talk: 'bob'})
  assert.deepEqual(readAddress(at('/#token=t')), {...none, token: 't'})
  assert.equal(readAddress(at('/#room=' + 'x'.repeat(ROOM_BYTES + 1))).room, '')
  assert.deepEqual(talkers('dm:a%3Ab%25:bob'), ['a:b%', 'bob'])
  for (const room of ['茶 & 点心', 'a+b=c#d', '<i>', '%41']) {
    const link = roomLink(at('/?room=old#token=secret'), room)
    assert.equal(readAddress(new URL(link)).room, room)
    assert.ok(!link.includes('secret'))
    const secret = '0123456789abcdef'
    assert.deepEqual(readAddress(new URL(nameLink(at('/?room=old'), room, secret))), {...none, name: room, secret})
  }
  assert.deepEqual(readAddress(at('/#name=alice&secret=short')), none)
  assert.deepEqual(readAddress(at('/#name=alice')), none)
})

test('the socket that was opened early is the first one, unless it is over or goes elsewhere', async (t) => {
  const window = globalThis.window = {}
  globalThis.WebSocket = class { constructor(url) { Object.assign(this, {url, readyState: 0, made: true}) } }
  t.after(() => { delete globalThis.window })
  const early = (readyState, url = 'ws://tea.test/ws') => (window.earlySocket = {url, readyState})
  const opened = async (socket) => {
    let n = 0
    socket.onopen = () => n++
    await null
    return n
  }
  for (const state of [0, 1]) {
    const one = early(state)
    const got = new Socket('ws://tea.test/ws')
    assert.equal(got, one)
    assert.equal(await opened(got), state, 'who comes too late for its opening is told of it')
    assert.ok(new Socket('ws://tea.test/ws').made, 'the next one is new')
  }
  for (const state of [2, 3]) {
    early(state)
    assert.ok(new Socket('ws://tea.test/ws').made)
    assert.equal(window.earlySocket, null)
  }
  early(1, 'ws://other.test/ws')
  assert.ok(new Socket('ws://tea.test/ws').made)
  window.earlySocket = undefined // it was not known who comes
  assert.ok(new Socket('ws://tea.test/ws').made)
})
