// The platform of the tests keeps its own promises: limits, errors, sleep and death as they are documented.
import assert from 'node:assert/strict'
import http from 'node:http'
import vm from 'node:vm'
import {after, before, test} from 'node:test'

import WebSocket, {WebSocketServer} from 'ws'

import {makeMini} from '../mini.mjs'

let url, server, sockets
before(async () => {
  const web = http.createServer((req, res) => {
    let body = ''
    req.on('data', (d) => (body += d))
    req.on('end', () => req.url === '/slow' || res.end(JSON.stringify({method: req.method, body, auth: req.headers.authorization})))
  })
  sockets = new WebSocketServer({server: web})
  sockets.on('connection', (s) => s.on('message', (m) => s.send('echo ' + m)))
  await new Promise((resolve) => web.listen(0, '127.0.0.1', resolve))
  url = `ws://127.0.0.1:${web.address().port}`
  server = web
})
after(() => {
  for (const s of sockets.clients) s.terminate()
  server.closeAllConnections()
  server.close()
})

const until = async (what, ok) => {
  for (let i = 0; i < 500; i++, await new Promise((r) => setTimeout(r, 10))) if (ok()) return
  assert.fail('waited for ' + what)
}
const make = (options) => makeMini({WebSocket, ...options})
const listen = (task, log = []) => {
  task.onOpen(() => log.push('open'))
  task.onMessage((m) => log.push('message ' + m.data))
  task.onError(() => log.push('error'))
  task.onClose((c) => log.push('close ' + c.code))
  return log
}

test('a socket opens, echoes and closes; a send before that fails', async () => {
  const {wx} = make()
  const task = wx.connectSocket({url})
  const log = listen(task)
  task.send({data: 'too early', fail: (e) => log.push(e.errMsg)})
  await until('open', () => log.includes('open'))
  task.send({data: 'hi'})
  await until('echo', () => log.includes('message echo hi'))
  task.close({code: 4001, fail: () => log.push('bad code')})
  await until('close', () => log.at(-1) === 'close 4001')
  assert.deepEqual(log, ['sendSocketMessage:fail SocketTask.readyState is not OPEN', 'open', 'message echo hi', 'close 4001'])
})

test('the sixth socket fails; a close before the opening does not stop it', async () => {
  const mini = make()
  const failed = []
  const logs = Array.from({length: 6}, () => listen(mini.wx.connectSocket({url, fail: (e) => failed.push(e.errMsg)})))
  await until('five', () => logs.filter((l) => l[0] === 'open').length === 5)
  assert.equal(failed.length, 1)
  assert.match(failed[0], /^connectSocket:fail/)
  assert.equal(mini.most, 5)
  mini.kill()

  const other = make()
  const task = other.wx.connectSocket({url})
  const log = listen(task)
  task.close({fail: () => log.push('not closed')})
  await until('open', () => log.includes('open'))
  assert.deepEqual(log, ['not closed', 'open'])
  other.kill()
})

test('an error before the opening: with a close, or without one', async () => {
  for (const errorCloses of [true, false]) {
    const log = listen(make({errorCloses}).wx.connectSocket({url: 'ws://127.0.0.1:1'}))
    await until('error', () => log.includes('error'))
    await new Promise((r) => setTimeout(r, 20))
    assert.deepEqual(log, errorCloses ? ['error', 'close 1006'] : ['error'])
  }
})

test('uni: a Promise without callbacks, a task with one', async () => {
  const mini = make({api: 'uni'})
  assert.equal(typeof mini.uni.connectSocket({url}).then, 'function')
  const log = listen(mini.uni.connectSocket({url, complete() {}}))
  await until('open', () => log.includes('open'))
  await assert.rejects(mini.uni.connectSocket({url: 'https://wrong'}))
  mini.kill()
})

test('the old global form has one socket', async () => {
  const {wx, ...mini} = make({task: false})
  const log = []
  wx.onSocketOpen(() => log.push('open'))
  wx.onSocketMessage((m) => log.push(m.data))
  assert.equal(wx.connectSocket({url}), undefined)
  await until('open', () => log.length === 1)
  wx.sendSocketMessage({data: 'x'})
  await until('echo', () => log.at(-1) === 'echo x')
  wx.connectSocket({url})
  await until('the second', () => log.filter((l) => l === 'open').length === 2)
  mini.kill()
})

test('in the background: 5 s, then nothing moves; the close is told late, early or never', async () => {
  for (const closeTold of ['late', 'early', 'never']) {
    const mini = make({closeTold})
    const log = listen(mini.wx.connectSocket({url}))
    const context = mini.context({log})
    vm.runInContext(`
      setTimeout(() => log.push('4 s'), 4000)
      setTimeout(() => log.push('6 s'), 6000)
      wx.onAppHide(() => log.push('hide ' + Date.now()))
      wx.onAppShow(() => log.push('show ' + Date.now()))`, context)
    await until('open', () => log.includes('open'))
    const from = mini.clock.now()
    await mini.suspend()
    const asleep = log.length
    await new Promise((r) => setTimeout(r, 30))
    assert.equal(log.length, asleep, 'nothing happens while it is suspended')
    mini.wx.connectSocket({url, fail: (e) => log.push(e.errMsg)})
    await mini.resume(600000)
    const times = log.filter((l) => /hide|show/.test(l)).map((l) => +l.split(' ')[1] - from)
    assert.ok(times[0] < 1000 && times[1] >= 605000 && times[1] < 606000, String(times))
    const words = log.map((l) => l.split(' ')[0] === 'hide' || l.startsWith('show') ? l.split(' ')[0] : l)
    assert.deepEqual(words, {
      late: ['open', 'hide', '4 s', 'show', 'close 1000', 'connectSocket:fail interrupted'],
      early: ['open', 'hide', '4 s', 'close 1000', 'show', 'connectSocket:fail interrupted'],
      never: ['open', 'hide', '4 s', 'show', 'connectSocket:fail interrupted'],
    }[closeTold])
    assert.equal(mini.sockets.length, 0)
    await mini.clock.pass(1000) // what the timer had left
    assert.equal(log.at(-1), '6 s')
    mini.kill()
  }
})

test('after a kill only the storage is left', async () => {
  const mini = make()
  const log = listen(mini.wx.connectSocket({url}))
  await until('open', () => log.length)
  mini.wx.setStorageSync('a', {b: 1})
  mini.clock.setTimeout(() => log.push('ghost'), 10)
  const next = mini.kill()()
  assert.deepEqual(next.wx.getStorageSync('a'), {b: 1})
  assert.equal(next.wx.getStorageSync('nothing'), '')
  next.wx.removeStorageSync('a')
  assert.equal(next.wx.getStorageSync('a'), '')
  await new Promise((r) => setTimeout(r, 40))
  assert.deepEqual(log, ['open'])
})

test('network: status, a tunnel that no socket notices, requests that fail', async () => {
  const mini = make()
  const log = listen(mini.wx.connectSocket({url}))
  const heard = (s) => log.push(s.networkType)
  mini.wx.onNetworkStatusChange(heard)
  await until('open', () => log.length)
  mini.network(false, {stall: true})
  mini.sockets[0].send({data: 'lost'})
  mini.wx.request({url: url.replace('ws', 'http'), fail: () => log.push('no request')})
  await new Promise((r) => setTimeout(r, 30))
  mini.wx.offNetworkStatusChange(heard)
  mini.network(true)
  assert.deepEqual(log, ['open', 'none', 'no request'])
  mini.kill()
})

test('request: JSON both ways, interrupted in the background, an answer that is lost', async () => {
  const mini = make()
  const ask = (o) => new Promise((resolve) => mini.wx.request({success: resolve, fail: resolve, ...o}))
  const base = url.replace('ws', 'http')
  const res = await ask({url: base + '/', method: 'POST', data: {n: 1}, header: {Authorization: 'Bearer x'}})
  assert.deepEqual([res.statusCode, res.data], [200, {method: 'POST', body: '{"n":1}', auth: 'Bearer x'}])
  mini.loseAnswers = true
  assert.match((await ask({url: base + '/'})).errMsg, /^request:fail/)
  mini.loseAnswers = false
  const slow = ask({url: base + '/slow'})
  await mini.suspend()
  await mini.resume()
  assert.equal((await slow).errMsg, 'request:fail interrupted')
  assert.equal((await ask({url: 'ftp://x'})).errMsg, 'request:fail invalid url "ftp://x"')
})

test('the domain list lets addresses of the LAN through', async () => {
  const {wx} = make({domains: ['tea.example']})
  const failed = []
  const open = (u) => wx.connectSocket({url: u, fail: (e) => failed.push(u)})
  const log = listen(open(url))
  open('wss://other.example/ws')
  open('ws://tea.example/ws') // without TLS
  await until('open', () => log.length)
  assert.deepEqual(failed, ['wss://other.example/ws', 'ws://tea.example/ws'])
})

test('mDNS: found, stopped, refused twice at once, missing', async () => {
  const mini = make()
  mini.lan = [{serviceName: 'tea', ip: '192.168.1.5', port: 8040}]
  const log = []
  mini.wx.onLocalServiceFound((s) => log.push(s.ip))
  mini.wx.onLocalServiceDiscoveryStop(() => log.push('stopped'))
  mini.wx.startLocalServiceDiscovery({serviceType: '_teahouse._tcp.', success: () => log.push('started')})
  mini.wx.startLocalServiceDiscovery({serviceType: '_teahouse._tcp.', fail: (e) => log.push(e.errMsg)})
  await until('found', () => log.includes('192.168.1.5'))
  await mini.clock.pass(30000)
  mini.wx.stopLocalServiceDiscovery({fail: (e) => log.push(e.errMsg)})
  await until('the end', () => log.at(-1).startsWith('stopLocal'))
  assert.deepEqual(log.sort(), ['192.168.1.5', 'started', 'startLocalServiceDiscovery:fail scan task already exist',
    'stopLocalServiceDiscovery:fail task not found', 'stopped'].sort())
  assert.equal(make({mdns: 'missing'}).wx.startLocalServiceDiscovery, undefined)
})

test('scripts run without what a mini-program has not', () => {
  const context = make().context()
  for (const name of ['URL', 'TextEncoder', 'atob', 'crypto', 'localStorage', 'document', 'fetch', 'WebSocket', 'process', 'window', 'navigator']) {
    assert.equal(vm.runInContext('typeof ' + name, context), 'undefined', name)
  }
  assert.equal(vm.runInContext('typeof wx.connectSocket', context), 'function')
})
