// Mini-programs and uni-app: the whole SDK, unchanged, where nothing of a browser is there (see mini.mjs).
import test from 'node:test'
import assert from 'node:assert/strict'
import vm from 'node:vm'
import {readFileSync} from 'node:fs'
import {FakeClock, network, greet, joined, ack, event, settle} from './fake.mjs'
import {makeMini} from './mini.mjs'

const source = readFileSync(new URL('../sdk/teahouse.js', import.meta.url), 'utf8').replace(/^export /gm, '') +
  '\n;({connect, discover, mini, TeahouseError})'

/** A mini-program with the SDK in it. `mini` is its platform, `net` what the server sees. */
function phone(options = {}) {
  const net = network()
  const server = net.FakeSocket.prototype
  server.close = function (code = 1000) { // its close is answered, as by a server
    if (this.readyState > 1) return
    this.readyState = 2
    queueMicrotask(() => this.end(code))
  }
  const clock = new FakeClock()
  const mini = makeMini({WebSocket: net.FakeSocket, clock, ...options})
  const context = mini.context()
  if (!options.random) vm.runInContext('Math.random = () => 0.5', context)
  return {net, clock, mini, sdk: vm.runInContext(source, context), ...start}
}

/** Starts the app. It keeps what it has shown over its lives. */
const start = {
  heard: [],
  start(options) {
    const {connect} = this.sdk
    this.heard = []
    this.states = []
    this.client = connect({url: '192.168.1.5:8040', user: 'alice', ...options})
    this.client.on('state', (s) => this.states.push(s.name))
    this.room = this.client.room('lobby')
    this.room.on('message', (e) => this.heard.push(e.seq))
    return this
  },
}

const open = (t) => t.net.all.filter((s) => s.readyState === 1)
const opening = (t) => t.net.all.filter((s) => s.readyState === 0)

for (const api of ['wx', 'uni']) {
  for (const task of [true, false]) {
    test(`${api}, ${task ? 'SocketTask' : 'the old global form'}: connects, sends, hears`, async () => {
      const t = phone({api, task}).start()
      assert.equal(t.net.last.url, 'ws://192.168.1.5:8040/ws')
      greet(t.net.last, {seq: 4})
      const sent = t.room.send({text: '你好'})
      ack(t.net.last, t.net.last.frames('send')[0], 5)
      t.net.last.say(event(6))
      assert.equal((await sent).seq, 5)
      assert.deepEqual(t.heard, [5, 6])
      t.net.last.end(4101, 'out')
      await settle()
      assert.deepEqual({...t.client.state}, {name: 'closed', code: 4101, error: 'kicked', reason: 'out'})
      assert.equal(t.mini.sockets.length, 0)
    })

    test(`${api}, ${task ? 'SocketTask' : 'the old global form'}: 50 errors of every sort leave one socket`, async () => {
      const t = phone({api, task}).start()
      for (let i = 0; i < 50; i++) {
        await t.clock.pass(40)
        if (t.client.state.name === 'waiting') t.client.retry()
        await settle()
        const s = t.net.last
        switch (i % 6) {
          case 0: s.end(1006); break // before it opened
          case 1: s.open(); s.end(1001); break // before the welcome
          case 2: greet(s); t.client.retry(); await t.clock.pass(4000); break // the ping goes unanswered
          case 3: greet(s, {seq: i}); s.end(4002); break
          case 4: t.mini.network(false); await t.clock.pass(60000); t.mini.network(true); break
          case 5: greet(s); await t.mini.suspend(); await t.mini.resume(); break
        }
        await settle()
        assert.ok(t.mini.sockets.length <= 1, `round ${i}: ${t.mini.sockets.length} sockets`)
      }
      await t.clock.pass(40000)
      t.client.retry()
      await settle()
      for (const s of opening(t)) s.open() // those that were given up open after all, too
      await settle()
      greet(t.net.last)
      assert.equal(t.client.state.name, 'live')
      assert.equal(open(t).length, 1)
      assert.ok(t.mini.most <= 5, `${t.mini.most} sockets at once`)
      t.client.close()
      await settle()
      assert.equal(open(t).length, 0)
    })
  }
}

test('a socket that was given up before it opened is closed when it opens after all', async () => {
  for (const task of [true, false]) {
    const t = phone({task}).start()
    for (let i = 0; i < 3; i++) {
      if (t.client.state.name === 'waiting') t.client.retry()
      const s = t.net.last
      await t.clock.pass(15000) // no answer
      assert.equal(t.client.state.name, 'waiting')
      if (task || i === 2) {
        s.open()
        await settle()
        assert.equal(s.readyState, 3, 'it is closed')
        assert.equal(s.sent.length, 0)
      }
    }
    t.client.retry()
    greet(t.net.last)
    assert.equal(t.client.state.name, 'live')
  }
})

test('five sockets that hang do not lock the app out', async () => {
  for (const refused of ['task', 'nothing']) {
    const t = phone({refused}).start()
    for (let i = 0; i < 8; i++) await t.clock.pass(31000)
    assert.equal(t.mini.sockets.length, 5, 'the platform could not close them')
    assert.equal(t.client.state.name, 'waiting')
    assert.match(t.client.state.reason, /exceed/)
    for (const s of opening(t)) s.open()
    await settle()
    assert.equal(t.mini.sockets.length, 0)
    t.client.retry()
    greet(t.net.last)
    assert.equal(t.client.state.name, 'live')
  }
})

test('an error without a close, a close without an error, a close without a code, a refusal: each ends it once', async () => {
  for (const how of [{errorCloses: false}, {}, {closeCodes: false}]) {
    const t = phone(how).start()
    t.net.last.end(1006)
    await settle()
    assert.deepEqual(t.states, ['waiting'])
    await t.clock.pass(500)
    greet(t.net.last)
    t.net.last.end(4001)
    await settle()
    assert.deepEqual(t.states, ['waiting', 'connecting', 'live', 'waiting'])
    assert.equal(t.client.state.code, how.closeCodes === false ? 0 : 4001)
  }
  const t = phone()
  t.start({url: 'wss://not.listed'})
  t.mini.api.connectSocket = (o) => (o.fail({errMsg: 'url not in domain list'}), undefined) // at once
  t.net.last.end()
  await t.clock.pass(500)
  assert.deepEqual(t.states, ['waiting', 'connecting', 'waiting'])
  assert.equal(t.client.state.reason, 'url not in domain list')
})

/** A task that does what the test says; `platform` is the SDK's side of it. */
function bare(api) {
  const {sdk} = phone()
  const on = {}
  const calls = []
  const task = {send: (o) => calls.push(o.data), close: () => calls.push('close')}
  for (const name of ['Open', 'Message', 'Error', 'Close']) task['on' + name] = (fn) => { on[name] = fn }
  const heard = []
  const platform = sdk.mini({connectSocket: (o) => ((on.refuse = o.fail), task), ...api})
  const connect = () => platform.connect('ws://x/ws', {
    open: () => heard.push('open'), message: (text) => heard.push(text), close: (...end) => heard.push(end),
  })
  return {on, calls, heard, connect}
}

test('whatever the platform says of an end, and how often: one end is told, and the socket is closed', () => {
  const ends = {
    error: (on) => on.Error({errMsg: 'x'}), close: (on) => on.Close({code: 4001, reason: 'x'}), refusal: (on) => on.refuse({errMsg: 'x'}),
    'an error without words': (on) => on.Error(), 'a close without words': (on) => on.Close(), 'a refusal without words': (on) => on.refuse(),
  }
  for (const [first, end] of Object.entries(ends)) {
    const {on, calls, heard, connect} = bare()
    connect()
    end(on)
    const code = first === 'close' ? 4001 : 0
    assert.deepEqual(heard, [[code, first.includes('words') ? '' : 'x']], first)
    if (first === 'error') assert.deepEqual(calls, ['close'], 'an open socket with an error counts among the five')
    for (const again of Object.values(ends)) again(on)
    on.Open()
    on.Message({data: '{}'})
    assert.equal(heard.length, 1, first)
    assert.equal(calls.at(-1), 'close', 'it opened after all')
  }
})

test('the old global form: one listener of each, and no socket but the own one is closed', () => {
  const added = []
  const {connect, calls} = bare({
    connectSocket: () => undefined, closeSocket: () => calls.push('closeSocket'), sendSocketMessage() {},
    ...Object.fromEntries(['Open', 'Message', 'Error', 'Close'].map((n) => ['onSocket' + n, (fn) => added.push([n, fn])])),
  })
  const fire = (name, e) => added.forEach(([n, fn]) => n === name && fn(e))
  connect().close()
  assert.deepEqual(calls, [], 'it was not open: whose socket would that have been?')
  const second = connect()
  fire('Open')
  second.close()
  assert.deepEqual(calls, ['closeSocket'])
  connect()
  second.close()
  assert.deepEqual(calls, ['closeSocket'])
  assert.deepEqual(added.map(([n]) => n), ['Open', 'Message', 'Error', 'Close'])
})

test('a domain that is not listed is refused with the platform’s words', async () => {
  const t = phone({domains: ['tea.example']}).start({url: 'wss://other.example'})
  await settle()
  assert.equal(t.client.state.name, 'waiting')
  assert.match(t.client.state.reason, /domain list/)
})

test('a frame that the platform does not take: the connection is made anew, and the frame said again', async () => {
  const t = phone().start()
  greet(t.net.last)
  const [task] = t.mini.sockets
  const {send} = task
  task.send = (o) => o.fail({errMsg: 'interrupted'})
  t.room.send({text: 'lost'})
  assert.equal(t.client.state.name, 'waiting')
  await t.clock.pass(500)
  assert.equal(t.mini.sockets.length, 1)
  greet(t.net.last)
  assert.equal(t.net.last.frames('send')[0].body.text, 'lost')
  assert.equal(typeof send, 'function')
})

// ---- sleep ----

for (const api of ['wx', 'uni']) {
  for (const closeTold of ['early', 'late', 'never']) {
    for (const late of [true, false]) {
      for (const closeFirst of [true, false]) {
        test(`${api}, suspended 10 minutes, its end told ${closeTold}, timers ${late ? 'late' : 'frozen'}, ${closeFirst ? 'the close' : 'onAppShow'} first`, async () => {
          const t = phone({api, closeTold}).start()
          greet(t.net.last, {seq: 4})
          t.net.last.say(event(5))
          t.room.send({text: 'on its way'})
          await t.mini.suspend()
          const was = t.net.all.length
          await t.mini.resume(600000, {late, closeFirst})
          await t.clock.pass(1)
          assert.ok(t.net.all.length > was, 'it connects at once')
          const from = t.clock.time
          greet(t.net.last, {seq: 9, join: false})
          const [join] = t.net.last.frames('join')
          assert.equal(join.after, 5)
          joined(t.net.last, join, 9)
          for (const seq of [6, 7, 8, 9]) t.net.last.say(event(seq))
          ack(t.net.last, t.net.last.frames('send')[0], 10)
          assert.deepEqual(t.heard, [5, 6, 7, 8, 9, 10])
          assert.equal(t.client.state.name, 'live')
          assert.ok(t.clock.time - from < 1000)
          assert.equal(t.mini.sockets.length, 1)
          await t.clock.pass(20000)
          assert.equal(t.client.state.name, 'live', 'what was left of before does no harm')
        })
      }
    }
  }
}

test('suspended while it waited, while it connected, and before the hello was heard', async () => {
  const waiting = phone().start()
  waiting.net.last.end(1006)
  const connecting = phone().start()
  const opened = phone().start()
  opened.net.last.open()
  for (const t of [waiting, connecting, opened]) {
    await t.mini.suspend()
    await t.mini.resume(600000, {closeFirst: t === opened})
    await t.clock.pass(1)
    greet(t.net.last)
    assert.equal(t.client.state.name, 'live')
    assert.equal(open(t).length, 1)
  }
})

test('asleep between the opening and the hello: hello_first (4105) is no reason to stay away', async () => {
  const t = phone().start()
  t.net.last.end(4105, 'no hello came within 10 s')
  await settle()
  assert.equal(t.client.state.name, 'waiting')
})

test('a few seconds in the background: the socket that lives is kept, a dead one noticed in 3 s', async () => {
  const t = phone().start()
  greet(t.net.last)
  t.mini.show()
  assert.equal(t.net.last.frames('ping').length, 1)
  t.net.last.say({op: 'pong'})
  await t.clock.pass(5000)
  assert.equal(t.net.all.length, 1)
  t.mini.network(true) // from one WLAN into another
  await t.clock.pass(3000)
  assert.equal(t.client.state.name, 'waiting')
})

test('a tunnel: the sockets do not notice, the heartbeat does; out of it, it is live at once', async () => {
  const t = phone().start()
  greet(t.net.last)
  t.mini.network(false, {stall: true})
  await t.clock.pass(3000)
  assert.equal(t.client.state.name, 'waiting', 'the platform says so: 3 s')
  await t.clock.pass(60000)
  t.mini.network(true)
  await settle()
  greet(t.net.last)
  assert.equal(t.client.state.name, 'live')
})

test('without onAppShow (an old base library) the heartbeat finds out', async () => {
  const t = phone({appEvents: false, closeTold: 'never'}).start()
  greet(t.net.last)
  await t.mini.suspend()
  await t.mini.resume()
  await t.clock.pass(35000)
  assert.notEqual(t.client.state.name, 'live')
  t.client.retry()
  greet(t.net.last)
  assert.equal(t.client.state.name, 'live')
})

test('going to the background writes the places; a kill loses neither them nor what was written', async () => {
  const t = phone().start()
  greet(t.net.last, {seq: 4})
  t.room.send({text: 'not sent yet'}, {key: 'k'})
  t.net.last.say(event(5))
  t.net.last.say(event(6))
  await t.mini.suspend()
  const next = phone({storage: t.mini.storage})
  t.mini.kill()
  next.start()
  assert.deepEqual([...next.client.outbox].map((o) => [o.key, o.state]), [['k', 'pending']])
  assert.equal(next.room.place, 6)
  greet(next.net.last, {seq: 9, join: false})
  assert.equal(next.net.last.frames('join')[0].after, 6)
  joined(next.net.last, next.net.last.frames('join')[0], 9)
  assert.equal(next.net.last.frames('send')[0].key, 'k')
})

test('a full storage: it goes on in memory', async () => {
  const t = phone()
  t.mini.storageFull = true
  t.start()
  greet(t.net.last)
  t.room.send({text: 'x'})
  ack(t.net.last, t.net.last.frames('send')[0], 1)
  assert.deepEqual(t.heard, [1])
  assert.equal(t.client.outbox.length, 0)
})

test('close() takes the listeners away', async () => {
  const t = phone().start()
  greet(t.net.last)
  t.client.close()
  await t.mini.suspend()
  await t.mini.resume()
  t.mini.network(true)
  await t.clock.pass(60000)
  assert.equal(t.net.all.length, 1)
  assert.equal(t.clock.timers.size, 0)
})

test('a mini-program without an address is told what to write', () => {
  const t = phone()
  assert.throws(() => t.sdk.connect({user: 'alice'}), {code: 'bad_url', message: /connect\(\) needs the address.*ws:\/\/192\.168\.1\.5:8040/})
})

test('a token in a mini-program says who it is, without atob', () => {
  const t = phone()
  const token = ['{}', JSON.stringify({sub: '阿明 🍵'}), ''].map((s) => Buffer.from(s).toString('base64url')).join('.')
  assert.equal(t.sdk.connect({url: 'x', token}).user, '阿明 🍵')
})

test('keys are random where there is no crypto, too', () => {
  const t = phone({random: true}).start()
  const keys = new Set()
  for (let i = 0; i < 500; i++) {
    t.room.send({text: 'x'})
    keys.add(t.client.outbox[i].key)
  }
  assert.equal(keys.size, 500)
  for (const key of keys) assert.match(key, /^[0-9a-f]{32}$/)
  for (let digit = 0; digit < 32; digit++) assert.ok(new Set([...keys].map((k) => k[digit])).size > 8, `digit ${digit}`)
})

// ---- discover ----

test('discover: each server in the LAN once, as an address for connect()', async () => {
  for (const api of ['wx', 'uni']) {
    const t = phone({api})
    t.mini.lan.push(
      {serviceName: '茶馆', ip: '192.168.1.5', port: 8040}, {serviceName: '茶馆', ip: '192.168.1.5', port: 8040},
      {serviceName: 'kitchen', ip: 'fd00::5', port: 80}, {serviceName: '茶馆', ip: '192.168.1.5', port: 8041})
    const search = t.sdk.discover()
    await t.clock.pass(2999)
    await settle()
    await t.clock.pass(1)
    assert.deepEqual([...await search].map((f) => ({...f})), [
      {name: '茶馆', url: 'ws://192.168.1.5:8040/ws'}, {name: 'kitchen', url: 'ws://[fd00::5]:80/ws'},
      {name: '茶馆', url: 'ws://192.168.1.5:8041/ws'},
    ])
    assert.equal(t.mini.searched, '_teahouse._tcp')
    assert.equal(t.clock.timers.size, 0, 'the search is stopped')
    const again = t.sdk.discover({timeout: 10})
    await t.clock.pass(10)
    assert.equal((await again).length, 3)
  }
})

test('discover: nothing found is an empty list; where it cannot search it says so', async () => {
  const silent = phone({mdns: 'silent'})
  const search = silent.sdk.discover({timeout: 100})
  await silent.clock.pass(100)
  assert.equal((await search).length, 0)
  for (const mdns of ['missing', 'fails']) {
    const t = phone({mdns})
    await assert.rejects(t.sdk.discover(), {code: 'unsupported', message: /ask for the server's address/})
    assert.equal(t.clock.timers.size, 0)
  }
})

test('discover: a search that is refused at once leaves no listener', async () => {
  const listeners = new Set()
  const api = {
    onLocalServiceFound: (fn) => listeners.add(fn), offLocalServiceFound: (fn) => listeners.delete(fn),
    startLocalServiceDiscovery: (o) => o.fail(), stopLocalServiceDiscovery: () => assert.fail('it did not begin'),
  }
  const {sdk} = phone()
  await assert.rejects(sdk.discover({platform: sdk.mini(api)}), {code: 'unsupported'})
  assert.equal(listeners.size, 0)
})

test('discover: a second search while one runs is refused, and does not end the first', async () => {
  const t = phone()
  let stops = 0
  const {stopLocalServiceDiscovery: stop} = t.mini.api
  t.mini.api.stopLocalServiceDiscovery = (o) => (stops++, stop(o))
  t.mini.lan.push({serviceName: 'a', ip: '10.0.0.1', port: 1})
  const first = t.sdk.discover({timeout: 100})
  await assert.rejects(t.sdk.discover({timeout: 100}), {code: 'unsupported', message: /already exist/})
  assert.equal(stops, 0)
  await t.clock.pass(100)
  assert.equal((await first).length, 1)
  assert.equal(stops, 1)
})
