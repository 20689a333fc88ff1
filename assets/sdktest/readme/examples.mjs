// Runs one example of the SDK's README (run=NAME) against a real server and looks whether it does what it says:
//   node examples.mjs PROJECT NAME
// PROJECT has the package installed and the example as NAME.mjs (or NAME.cjs), with the server's address in it.
// The server is named by TEAHOUSE_URL and TEAHOUSE_KEY.
import assert from 'node:assert/strict'
import {readFileSync} from 'node:fs'
import {createRequire} from 'node:module'
import vm from 'node:vm'

import WebSocket from 'ws'

import {makeMini} from '../mini.mjs'
import {call, common, file, history, later, memory, name, online, prelude, run, says, sdk, silent, until, user} from './kit.mjs'

const address = new URL(process.env.TEAHOUSE_URL)
const texts = async (topic) => (await history(topic)).map((e) => e.body.text)
const push = (to, kind, body) => call('POST', '/events', {to: [to], kind, body})

/** A mini-program that has the SDK beside it. */
function miniProgram(options) {
  const mini = makeMini({api: 'wx', WebSocket, ...options})
  const given = {}
  const context = mini.context({
    App(own) { given.app = own },
    Page(own) { given.page = own },
    getApp: () => given.app,
  })
  const inside = (code, from) => {
    const module = {exports: {}}
    const require = (what) => (assert.equal(what, './teahouse.js'), inside(readFileSync(common, 'utf8'), common))
    vm.runInContext(`(function (require, module, exports) {${code}\n})`, context, {filename: from})(require, module, module.exports)
    return module.exports
  }
  const load = (name) => {
    const from = name ? file('.cjs').replace(/[^/\\]+$/, name + '.cjs') : file('.cjs')
    return inside(readFileSync(from, 'utf8'), from)
  }
  return {mini, given, load}
}

async function wx() {
  const {mini, given, load} = miniProgram()
  load('wx-app')
  const {app} = given
  app.onLaunch()
  load('wx-page')
  const {page} = given
  page.setData = (patch) => Object.assign(page.data, JSON.parse(JSON.stringify(patch)))
  page.onLoad()
  const shows = (...want) => until('the page to show ' + want, () => page.data.messages.map((e) => e.body.text).join() === want.join())
  const bob = await user('bob')
  const his = bob.room('lobby')
  await his.send({text: 'is the tea ready?'})
  await shows('is the tea ready?')
  page.data.text = 'soon'
  page.send()
  assert.equal(page.data.text, '')
  await shows('is the tea ready?', 'soon')

  await mini.suspend() // five seconds later it stands still
  await until('alice to be away', async () => (await his.presence()).join() === 'bob')
  await his.send({text: 'now it is'})
  await mini.resume(600000)
  await shows('is the tea ready?', 'soon', 'now it is')
  assert.equal(mini.sockets.length, 1)

  page.onUnload()
  await until('the room to be left', async () => (await his.presence()).join() === 'bob')
  assert.equal(app.tea.state.name, 'live')
  for (const s of await online('alice')) await call('DELETE', '/sessions/' + s.id)
  await until('the app to say so', () => mini.named('showModal').length === 1)
}

const examples = {
  'wx-app': wx,
  'wx-page': wx,

  async uni() {
    const mini = makeMini({api: 'uni', WebSocket})
    const {tea} = await run({uni: mini.uni})
    await until('it to be live', () => tea.state.name === 'live')
    await push('alice', 'order.ready', {name: 'Longjing'})
    await until('the toast', () => mini.named('showToast').some((c) => c.title === 'Longjing'))
    assert.equal(mini.connects, 1)
  },

  async node() {
    await run()
    await says(/^on the disk, as number \d+$/)
    assert.deepEqual(await texts('room:lobby'), ['Order 7 is ready.'])
    await until('it to be gone', async () => (await online('printer')).length === 0)
  },

  async 'node-require'() {
    createRequire(file('.cjs'))(file('.cjs'))
    await (await user('bob')).room('lobby').send({text: 'print this'})
    await says('bob print this')
  },

  async prelude() {
    globalThis.WebSocket = WebSocket
    await run()
    const his = (await user('bob')).room('lobby')
    await until('alice to be in the lobby', async () => (await his.presence()).includes('alice'))
  },

  async state() {
    const {tea, go} = later('alice')
    await run({tea})
    go()
    await says('connected as alice')
    for (const s of await online('alice')) await call('DELETE', '/sessions/' + s.id)
    await says(/^ended: ./)
    tea.retry()
    await says('connecting…')
    await until('it to be live', () => tea.state.name === 'live')
    tea._lost(tea._conn, 1006, '') // the network breaks
    await says(/^no connection; next try in \d s$/)
  },

  async retry() {
    const {tea} = await prelude()
    for (const s of await online('alice')) await call('DELETE', '/sessions/' + s.id)
    await until('it to be closed', () => tea.state.name === 'closed')
    const states = []
    tea.on('state', (s) => states.push(s.name))
    await run({tea})
    assert.deepEqual([...states], ['connecting', 'closed'])
    assert.equal(tea.state.reason, 'closed by the app')
  },

  async token() {
    globalThis.WebSocket = WebSocket
    const asked = []
    globalThis.fetch = async (where, {method}) => {
      asked.push(method + ' ' + where)
      const answer = await call('POST', '/tokens', {user: 'alice', ttl_s: asked.length === 1 ? 1 : 600})
      return {json: async () => answer}
    }
    await run()
    await until('alice to be there', async () => (await online('alice')).length === 1)
    await until('the second token', () => asked.length === 2) // the first one ran out
    await until('alice to be there again', async () => (await online('alice')).length === 1)
    assert.ok(asked.every((a) => a === 'POST https://shop.example/tea-token'), String(asked))
  },

  async room() {
    const {tea, bob} = await prelude()
    const his = bob.room('kitchen')
    for (let i = 1; i <= 30; i++) await his.send({text: 'old ' + i})
    await run({tea})
    await says('2 are here')
    await says('order 4')
    await says('any kind: order')
    await says('bob says old 11')
    silent(/says old 10$/)
    await until('the room to be left', async () => (await his.presence()).join() === 'bob')
  },

  async send() {
    await run(await prelude())
    await says(/^on the disk since \d{4}-.*Z as number \d+$/)
    assert.deepEqual(await texts('room:lobby'), ['hi'])
  },

  async key() {
    await run(await prelude())
    await says('true')
    assert.deepEqual(await texts('room:lobby'), ['Order 7 is ready.'])
  },

  async outbox() {
    // A run of the app without network leaves two messages.
    const storage = memory()
    const nowhere = {connect: () => ({send() {}, close() {}}), storage}
    const before = sdk.connect({url: address.href, user: 'alice', platform: nowhere})
    before.room('lobby').send({text: 'first'})
    before.topic('room:' + 'x'.repeat(200)).send({text: 'nowhere'}) // no such topic can be
    before.room('lobby').send({text: 'second'})
    before.close()

    const {tea, go} = later('alice', {storage})
    const lobby = tea.room('lobby')
    await run({tea, lobby})
    go()
    await says('first …, nowhere …, second …')
    await until('both to be sent', async () => (await texts('room:lobby')).join() === 'first,second')
    await until('what failed to be left', () => tea.outbox.map((i) => i.state).join() === 'failed')
    await says('nowhere …')
    lobby.send({text: 'third'})
    await says('nowhere …, third …')
  },

  async failed() {
    const {tea} = await prelude()
    const wrong = (text) => tea.topic('room:' + text.repeat(200)).send({text}).catch((err) => err.code)
    assert.deepEqual(await Promise.all([wrong('a'), wrong('b')]), ['bad_topic', 'bad_topic'])
    const asked = []
    await assert.rejects(run({tea, confirm: (question) => asked.push(question) === 2}), {code: 'bad_topic'})
    assert.match(asked[0], /^"a" was not sent: .+ Try again\?$/)
    assert.deepEqual(tea.outbox.map((i) => [i.body.text, i.state]), [['b', 'failed']])
  },

  async secret() {
    globalThis.localStorage = memory()
    globalThis.WebSocket = WebSocket
    await run()
    await until('alice to be there', async () => (await online('alice')).length === 1)
    assert.match(localStorage.getItem('secret'), /^[0-9a-f]{32}$/)
    localStorage.setItem('secret', 'somebody-else-entirely')
    await import('file://' + file('.mjs') + '?again')
    await says(/^Somebody else is alice here/)
    assert.equal((await online('alice')).length, 1)
  },

  async protect() {
    const all = await prelude()
    const club = all.bob.room('club')
    await club.protect('tea at noon')
    await run(all)
    await says('Which code?')
    const codes = []
    const den = all.bob.room('den')
    den.on('error', (err) => codes.push(err.code))
    await until('bob to need the code', () => codes.join() === 'code_needed')
    const inside = all.bob.room('den', {code: 'tea at five'})
    await until('bob to be in', async () => (await inside.presence()).join() === 'alice,bob')
  },

  async recall() {
    const all = await prelude()
    const back = []
    all.his.on('message.recalled', (e) => back.push(e.body.seq))
    await run(all)
    await says('(recalled)')
    const [message] = await history('room:lobby')
    assert.deepEqual(message.body, {recalled: true})
    await until('bob to hear of it', () => back.join() === String(message.seq))
  },

  async topics() {
    const all = await prelude()
    await all.his.send({text: 'is the tea ready?', mentions: ['alice']})
    await all.bob.talk('alice').send({text: 'psst'})
    await run(all)
    await says('room:lobby: 1 new, one for you; is the tea ready?')
    await says('dm:alice:bob: 1 new; psst')
    const {seq} = await all.his.send({text: 'it is'})
    await says(`room:lobby is read up to ${seq}`)
  },

  async search() {
    const all = await prelude()
    for (const text of ['Green TEA', 'coffee', 'tea?']) await all.his.send({text})
    await run(all)
    await says('Green TEA, tea?')
  },

  async vouchers() {
    const secret = 'a-secret-of-alice-only'
    const tea = await user('alice', {secret})
    await call('POST', '/vouchers', {name: 'Longjing', owner: 'alice', expires_at: Date.now() + 90 * 60000})
    await call('POST', '/vouchers', {name: 'Cake', owner: 'alice', count: 21})
    await run({tea})
    await says('Cake for ever')
    await says('2 more')
    silent(/Longjing/)
  },

  async history() {
    const all = await prelude()
    for (let i = 0; i < 45; i++) await all.his.send({text: 'message ' + i})
    await run(all)
    await says('45 messages since message 0')
  },

  async presence() {
    const all = await prelude()
    await run(all)
    await says('alice,bob')
    const carol = await user('carol')
    carol.room('lobby')
    await says('carol came')
    carol.close()
    await says('carol went')
  },

  async signal() {
    const all = await prelude()
    const heard = []
    all.his.on('signal', ({from, body}) => heard.push(from, body.typing))
    await run(all)
    await until('bob to hear it', () => heard.join() === 'alice,true')
    all.his.signal({typing: true})
    await says('bob is typing')
    all.his.signal({typing: false})
    await says('bob stopped')
  },

  async talk() {
    const all = await prelude()
    await run(all)
    const talk = all.bob.talk('alice')
    const heard = []
    talk.on('message', (e) => e.from === 'alice' && heard.push(e.body.text))
    await talk.send({text: 'where are you?'})
    await says('bob wrote to you')
    await says('bob: where are you?') // the talk begins with what was said
    await until('the answer', () => heard.join() === 'I am coming.')
  },

  async inbox() {
    await run(await prelude())
    await push('alice', 'order.ready', {name: 'Longjing'})
    await says('Your Longjing is ready.')
    await says('anything: order.ready')
    await redeem()
    await says(/^redeemed: ./)
  },

  async reset() {
    const storage = memory()
    const before = await user('alice', {storage})
    await before.room('lobby').send({text: 'shown before'})
    before.close()
    const his = (await user('bob')).room('lobby')
    for (let i = 0; i < 10; i++) await his.send({text: 'missed ' + i}) // more than this server replays
    const {tea, go} = later('alice', {storage})
    await run({tea, lobby: tea.room('lobby', {resume: true})})
    go()
    await says(/^limit .+/)
  },

  async place() {
    const storage = memory()
    const before = await user('alice', {storage})
    await before.room('lobby').send({text: 'one'})
    before.close()
    await (await user('bob')).room('lobby').send({text: 'two'})
    const {tea, go} = later('alice', {storage})
    await run({tea, lobby: tea.room('lobby')})
    go()
    await says('NEW two')
    await says('old one')
  },

  async resume() {
    const storage = memory()
    globalThis.localStorage = memory()
    const before = await user('alice', {storage})
    const mine = before.room('kitchen', {resume: true})
    const {seq} = await mine.send({text: 'one'})
    localStorage.setItem('kept', JSON.stringify({[seq]: 'one, as it was kept'}))
    before.close()
    const next = await (await user('bob')).room('kitchen').send({text: 'two'})
    await run({tea: await user('alice', {storage})})
    const kept = () => JSON.parse(localStorage.getItem('kept'))
    await until('what was missed to be kept', () => kept()[next.seq])
    assert.deepEqual(kept(), {[seq]: 'one, as it was kept', [next.seq]: 'two'}) // and nothing else was told
  },

  async discover() {
    const able = miniProgram()
    able.mini.lan.push({serviceName: 'Teahouse', ip: address.hostname, port: +address.port})
    able.load()
    await until('alice to be there', async () => (await online('alice')).length === 1)
    assert.equal(able.mini.searched, '_teahouse._tcp')
    const unable = miniProgram({mdns: 'missing'})
    unable.load()
    await until('the question', () => unable.mini.named('showModal').length === 1)
  },

  async errors() {
    await run(await prelude())
    await says('Too long, please split it.')
  },

  async vue() {
    globalThis.WebSocket = WebSocket
    const {effectScope} = await import('vue')
    const {useRoom} = await run()
    const scope = effectScope()
    const {messages, outbox, send} = scope.run(() => useRoom('lobby'))
    const his = (await user('bob')).room('lobby')
    const sent = send('hi')
    assert.deepEqual(outbox.value.map((i) => i.body.text), ['hi'])
    await sent
    assert.deepEqual(outbox.value, [])
    await his.send({text: 'hello'})
    await until('both', () => messages.value.map((e) => e.from + ' ' + e.body.text).join() === 'alice hi,bob hello')
    scope.stop()
    await until('the room to be left', async () => (await his.presence()).join() === 'bob')
  },

  async storage() {
    const his = (await user('bob')).room('orders')
    await his.send({table: 1}, {kind: 'order'})
    await run()
    await says(/^print \d+ 1$/)
    await until('the file', () => /"room:orders\\*":\d/.test(readFileSync('tea.json', 'utf8')))
  },

  async platform() {
    globalThis.WebSocket = WebSocket
    const hooks = new Map()
    await run({
      addEventListener: (what, fn) => hooks.set(what, fn),
      removeEventListener: (what) => hooks.delete(what),
    })
    await until('alice to be there', async () => (await online('alice')).length === 1)
    assert.deepEqual([...hooks.keys()].sort(), ['my-app-goes', 'my-app-is-back'])
    hooks.get('my-app-goes')()
    hooks.get('my-app-is-back')()
  },
}

/** A voucher of alice's is redeemed. */
async function redeem() {
  const {vouchers} = await call('POST', '/vouchers', {name: 'Longjing', owner: 'alice'})
  await call('POST', `/vouchers/${vouchers[0].code}/redeem`, {by: 'bob', key: 'r-1'})
}

assert.ok(examples[name], `examples.mjs does not know the README's example ${name}`)
await examples[name]()
process.exit(0) // clients of the example may still be connected
