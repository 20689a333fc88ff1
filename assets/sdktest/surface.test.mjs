// teahouse.d.ts says what teahouse.js and its builds have, and nothing else.
import assert from 'node:assert/strict'
import {readFileSync} from 'node:fs'
import {createRequire} from 'node:module'
import {test} from 'node:test'
import vm from 'node:vm'

import * as sdk from '../sdk/teahouse.js'
import * as minified from '../sdk/teahouse.min.js'

const file = (name) => readFileSync(new URL('../sdk/' + name, import.meta.url), 'utf8')
const types = file('teahouse.d.ts').replace(/\/\*[^]*?\*\/|\/\/.*/g, '')

/** Names of the values that the types export. */
const exported = [...types.matchAll(/^export (?:declare )?(?:function|class|const) (\w+)/gm)].map((m) => m[1]).sort()

/** The members of an interface: {name: 'method' or 'property'}. Those of one line are separated by commas. */
function members(name) {
  const body = types.match(new RegExp(`^export interface ${name}\\b[^{]*\\{\\n([^]*?)^\\}`, 'm'))
  assert.ok(body, `there is no interface ${name}`)
  const all = {}
  for (const [, member, mark] of body[1].matchAll(/^ {2}(?:readonly )?(\w+)\??([(<:])/gm)) all[member] = mark === ':' ? 'property' : 'method'
  return all
}

/** What an object shows to the outside, its class included; names with _ are its own affair. */
function shown(object) {
  const all = {}
  for (let o = object; o && o !== Object.prototype; o = Object.getPrototypeOf(o)) {
    for (const name of Object.getOwnPropertyNames(o)) {
      if (name === 'constructor' || name.startsWith('_') || name in all) continue
      all[name] = typeof object[name] === 'function' ? 'method' : 'property'
    }
  }
  return all
}

/** A platform on which nothing ever happens. */
const nowhere = {connect: () => ({send() {}, close() {}}), storage: null}
const idle = {setTimeout: () => 0, clearTimeout() {}, now: () => 0, random: () => 0.5}

test('the module exports what the types say', () => {
  assert.ok(exported.length >= 5, String(exported))
  assert.deepEqual(Object.keys(sdk).sort(), exported)
})

test('so do the builds', () => {
  assert.deepEqual(Object.keys(minified).sort(), exported)

  const require = createRequire(import.meta.url)
  assert.deepEqual(Object.keys(require('../sdk/cjs/teahouse.js')).sort(), exported)
  assert.equal(require('../sdk/cjs/index.js'), require('../sdk/cjs/teahouse.js'))

  // A <script>: one name, and nothing else.
  const page = vm.createContext({})
  const before = Object.getOwnPropertyNames(vm.runInContext('this', page))
  vm.runInContext(file('teahouse.global.js'), page)
  const added = Object.getOwnPropertyNames(vm.runInContext('this', page)).filter((name) => !before.includes(name))
  assert.deepEqual(added, ['Teahouse'])
  assert.deepEqual(Object.keys(page.Teahouse).sort(), exported)
})

test('each member of the types is there, and no other', () => {
  const on = members('Emitter')
  assert.deepEqual(on, {on: 'method'})
  const tea = sdk.connect({url: 'tea.example', user: 'alice', platform: nowhere, clock: idle})
  assert.deepEqual(sorted(shown(tea)), sorted({...on, ...members('Client')}))
  for (const topic of [tea.inbox, tea.room('lobby'), tea.talk('bob')]) {
    assert.deepEqual(sorted(shown(topic)), sorted({...on, ...members('Topic')}))
  }
  assert.equal(typeof tea.on('state', () => {}), 'function')
  tea.close()
})

test('what the platforms give is a Platform', () => {
  const known = members('Platform')
  const api = {connectSocket() {}, getStorageSync: () => '', setStorageSync() {}, removeStorageSync() {}}
  for (const platform of [sdk.web(class {}), sdk.mini(api)]) {
    assert.equal(typeof platform.connect, 'function')
    for (const [name, kind] of Object.entries(shown(platform))) {
      assert.ok(name in known, `${name} is not in the types`)
      if (platform[name] !== undefined && platform[name] !== null) assert.equal(kind, known[name], name)
    }
  }
})

test('an error has a code and words', () => {
  const err = new sdk.TeahouseError('too_large', 'too much')
  assert.ok(err instanceof Error)
  assert.deepEqual([err.code, err.message, err.name], ['too_large', 'too much', 'TeahouseError'])
})

const sorted = (o) => Object.fromEntries(Object.entries(o).sort())
