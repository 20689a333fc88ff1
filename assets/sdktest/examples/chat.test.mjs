// Two people chat, one in the mini-program and one in the uni-app; servers die, phones sleep, systems kill.
import assert from 'node:assert/strict'
import {test} from 'node:test'

import WebSocket from 'ws'

import {makeMini} from '../mini.mjs'
import {asTheLog, bubbles, call, enter, history, host, say, sees, server, start, until} from './kit.mjs'

const KINDS = ['wx', 'uni']
let last = 0
const word = (what) => `${what} ${++last}`

test('two people chat over a server that is killed', async () => {
  const alice = await enter('wx', 'alice')
  const bob = await enter('uni', 'bob')
  await until('each to see both', () => alice.screen.has('2 人在线') && bob.screen.has('2 人在线'))
  const [one, two, three, four] = [word('茶好了吗？'), word('快好了 <b>{{x}}</b>'), word('断线时写的'), word('我也是')]
  await say(alice, one)
  await sees(bob, one)
  await say(bob, two)
  await sees(alice, two)
  await server('kill')
  await until('both to know', () => alice.screen.has('点此立即重连') && bob.screen.has('点此立即重连'))
  await say(alice, three)
  await say(bob, four)
  await until('both to wait', () => alice.screen.has('发送中…') && bob.screen.has('发送中…'))
  await server('start')
  if (alice.screen.has('点此立即重连')) alice.screen.tap('点此立即重连') // a user may; bob waits
  await sees(alice, three, four)
  await sees(bob, three, four)
  await until('nothing to wait', () => !alice.screen.has('发送中…') && !bob.screen.has('发送中…'))
  assert.equal((await history('room:lobby')).length, 4)
  await asTheLog([alice, bob])
  alice.screen.tap('2 人在线')
  const shown = alice.mini.named('showModal').at(-1).content.split('、').sort()
  assert.deepEqual(shown, ['alice', 'bob'])
  for (const app of [alice, bob]) assert.equal(app.mini.most, 1, 'one socket, whatever happened')
  bob.screen.tap('退出')
  await until('alice alone', () => alice.screen.has('1 人在线'))
  assert.ok(bob.screen.has('服务器'), 'bob is back at the door')
  alice.screen.tap('退出')
})

for (const kind of KINDS) {
  test(`${kind}: older messages by pulling down`, async () => {
    const base = word('旧')
    for (let i = 0; i < 60; i++) await call('POST', '/events', {topic: 'room:lobby', from: 'kitchen', body: {text: `${base} 第${i}句`}})
    const app = await enter(kind, 'reader-' + kind)
    await sees(app, `${base} 第59句`)
    assert.equal(bubbles(app).length, 50)
    assert.ok(app.screen.has('下拉看更早的消息'))
    for (let i = 0; i < 20 && !app.screen.has('没有更早的消息了'); i++) {
      await app.pull()
      await until('the end of the pull', () => app.mini.named('stopPullDownRefresh').length > i)
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    await asTheLog([app], 'room:lobby', 500)
    assert.ok(app.screen.has('没有更早的消息了'))
  })

  for (const closeTold of ['late', 'never', 'early']) {
    test(`${kind}: asleep for 10 minutes (the close is told ${closeTold}), live within a second`, async () => {
      const app = await enter(kind, 'sleeper-' + kind, {closeTold})
      const other = await enter('wx', 'waker')
      const before = word('睡前')
      await say(other, before)
      await sees(app, before)
      const took = []
      do { // again, if the machine was busy with something else
        await app.mini.suspend()
        const missed = [1, 2, 3].map(() => word('睡着时'))
        for (const m of missed) await say(other, m)
        await sees(other, ...missed)
        await until('it to be sent', () => !other.screen.has('发送中…'))
        assert.ok(!bubbles(app).includes(missed[0]), 'nothing runs while it sleeps')
        const woke = Date.now()
        await app.mini.resume(10 * 60000)
        await until('the missed', () => missed.every((m) => bubbles(app).includes(m)) && app.screen.has('已连接'))
        took.push(Date.now() - woke)
      } while (took.at(-1) >= 1000 && took.length < 3)
      assert.ok(took.at(-1) < 1000, `live with what it missed after ${took} ms`)
      await asTheLog([app, other])
      assert.equal(app.mini.most, 1)
      const after = word('醒后')
      await say(app, after)
      await sees(other, after)
    })
  }

  test(`${kind}: killed with a message that is not sent; sent once in the next life`, async () => {
    let app = await enter(kind, 'mortal-' + kind)
    const lost = word('没发出去')
    await server('kill')
    await until('it to know', () => app.screen.has('点此立即重连'))
    await say(app, lost)
    await until('it to wait', () => app.screen.has('发送中…'))
    app = await app.again() // still no server
    await until('the waiting line', () => bubbles(app).includes(lost) && app.screen.has('发送中…'))
    await server('start')
    await until('it to be sent', () => bubbles(app).includes(lost) && !app.screen.has('发送中…'))
    // Killed in the moment of sending, too: whether the server got it, nobody knows.
    const perhaps = word('发到一半')
    await say(app, perhaps)
    app = await app.again()
    await until('it to be sent', () => bubbles(app).includes(perhaps) && !app.screen.has('发送中…'))
    const log = (await history('room:lobby')).map((e) => e.body.text)
    assert.equal(log.filter((t) => t === lost).length, 1)
    assert.equal(log.filter((t) => t === perhaps).length, 1)
    await asTheLog([app])
  })

  test(`${kind}: another log at the same address: the page begins anew, and the pending is sent there`, async () => {
    const app = await enter(kind, 'mover-' + kind)
    const [old, kept] = [word('旧日志'), word('等着发')]
    await say(app, old)
    await until('it to be sent', () => bubbles(app).includes(old) && !app.screen.has('发送中…'))
    await server('kill')
    await until('it to know', () => app.screen.has('点此立即重连'))
    await say(app, kept)
    await server('fresh')
    await until('the new log', () => bubbles(app).join() === kept && !app.screen.has('发送中…'))
    assert.equal((await history('room:lobby')).length, 1)
  })

  test(`${kind}: a tunnel that no socket notices`, async () => {
    const app = await enter(kind, 'tunnel-' + kind)
    const text = word('隧道里')
    app.mini.network(false, {stall: true})
    await say(app, text)
    await until('it to wait', () => app.screen.has('发送中…'))
    app.mini.network(true)
    await until('it to be sent', () => bubbles(app).includes(text) && !app.screen.has('发送中…'), 10000)
    assert.equal((await history('room:lobby')).filter((e) => e.body.text === text).length, 1)
  })

  test(`${kind}: what the server refuses is shown, tried again by a tap and removed by a long press`, async () => {
    const app = await enter(kind, 'wordy-' + kind)
    const [first, second] = [word('茶'.repeat(100)), word('壶'.repeat(100))]
    await server('kill')
    await until('it to know', () => app.screen.has('点此立即重连'))
    await say(app, first)
    await say(app, second)
    await server('strict')
    const failed = () => app.screen.all().filter((n) => n.attrs?.class === 'bad').length
    await until('both to fail', () => failed() === 2)
    assert.ok(app.screen.has('没有发出'))
    app.screen.longpress('没有发出')
    await until('one to be gone', () => failed() === 1)
    app.screen.tap('没有发出') // on the same connection, which refuses it again
    const [item] = app.client().outbox
    assert.equal(item.state, 'pending')
    await until('it to be refused again', () => app.client().outbox[0].state === 'failed' && failed() === 1)
    await server('kill')
    await server('start')
    await until('the server', () => app.screen.has('已连接'))
    app.screen.tap('没有发出')
    await until('it to be sent', () => failed() === 0 && !app.screen.has('发送中…'))
    const log = (await history('room:lobby')).map((e) => e.body.text)
    assert.deepEqual([log.includes(first), log.includes(second)], [bubbles(app).includes(first), bubbles(app).includes(second)])
    assert.equal(log.filter((t) => t === first || t === second).length, 1)
    assert.equal(app.client().outbox.length, 0)
    // What can never be sent is said at once.
    await say(app, '茶'.repeat(8000))
    await until('the toast', () => /bytes/.test(app.mini.named('showToast').at(-1)?.title))
    assert.ok(!app.screen.has('发送中…'))
  })

  test(`${kind}: the door: a server found in the LAN, none, a phone that cannot search, a wrong address`, async () => {
    const [ip, port] = host.split(':')
    const phone = makeMini({api: kind, WebSocket})
    phone.lan = [{serviceName: '茶馆一号', ip, port: +port}]
    const app = await start(kind, {}, phone)
    await phone.clock.pass(10000)
    await until('the server', () => app.screen.has('茶馆一号'))
    app.screen.tap('茶馆一号')
    await until('its address', () => app.screen.value('例如 192.168.1.5:8040').includes(host))
    app.screen.tap('进入')
    await until('the complaint', () => app.screen.has('请填写服务器地址和您的名字'))
    app.screen.type('名字', 'finder')
    await until('the name', () => app.screen.value('名字') === 'finder')
    app.screen.tap('进入')
    await until('the chat', () => app.screen.has('已连接'))
    for (const mdns of ['missing', 'fails', 'silent']) {
      const other = await start(kind, {mdns})
      await other.mini.clock.pass(10000)
      await until('the hint', () => other.screen.has('请填写地址'))
      assert.ok(!other.screen.has('正在局域网里搜索'))
    }
    const wrong = await start(kind, {mdns: 'missing'})
    wrong.screen.type('例如 192.168.1.5:8040', '127.0.0.1:1')
    wrong.screen.type('名字', 'lost')
    await until('the name', () => wrong.screen.value('名字') === 'lost')
    wrong.screen.tap('进入')
    await until('the state', () => wrong.screen.has('点此立即重连') || wrong.screen.has('连接中'))
    assert.ok(wrong.mini.most <= 1)
  })
}
