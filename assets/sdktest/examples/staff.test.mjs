// The staff's page: scanned or typed, green or red with the reason, and never twice, whatever the network does.
import assert from 'node:assert/strict'
import {test} from 'node:test'

import {call, enter, host, server, start, until} from './kit.mjs'

const PIN = '482915'
let last = 0
const issue = async (name, more) => (await call('POST', '/vouchers', {name, owner: 'guest', ...more})).vouchers[0]
const logOf = async (v) => (await call('GET', '/vouchers/' + v.code)).log.map((l) => l.action)
const sent = (app) => app.mini.requests.filter((r) => r.url.endsWith('/redeem'))

/** A phone on the staff's page, signed in. */
async function till(kind, options) {
  const name = `店员${++last}`
  await call('POST', '/staff', {name, station: '二号窗口', pin: PIN})
  const app = await start(kind, options)
  app.tab('staff')
  await signIn(app, name)
  app.name = name
  return app
}

async function signIn(app, name, pin = PIN) {
  app.screen.type('服务器地址', host)
  app.screen.type('工号', name)
  app.screen.type('PIN', pin)
  await until('what was typed', () => app.screen.value('PIN') === pin && app.screen.value('工号') === name)
  app.screen.tap('登录')
  await until('the answer', () => app.screen.has('扫一扫') || app.screen.texts('bad').length)
}

function scan(app, ...found) {
  app.mini.scans.push(...found)
  app.screen.tap('扫一扫')
}

const shows = async (app, kind, ...words) => {
  await until(`${kind} ${words}: ${app.screen.text()}`, () => app.screen.texts(kind).some((t) => words.every((w) => t.includes(w))))
}

for (const kind of ['wx', 'uni']) {
  test(`${kind}: signed in, scanned: green; the second scan red, with who and when; the guest sees it`, async () => {
    const guest = await enter(kind === 'wx' ? 'uni' : 'wx', 'guest')
    guest.tab('vouchers')
    const app = await till(kind)
    assert.ok(app.screen.has(`二号窗口 · ${app.name}`))
    assert.ok(![...app.mini.storage.values()].some((v) => v.includes(PIN)), 'the PIN is not kept')
    const v = await issue('红烧肉饭')
    scan(app, v.code)
    await shows(app, 'good', '核销成功', '红烧肉饭', 'guest')
    await until('the guest to see it', () => guest.screen.texts('card').some((t) => t.includes('红烧肉饭') && t.includes('已核销') && t.includes('二号窗口')))
    scan(app, v.code)
    await shows(app, 'bad', '已经核销过了', '二号窗口', app.name, '红烧肉饭')
    assert.match(app.screen.texts('bad').join(), /\d+月\d+日 \d\d:\d\d/)
    assert.deepEqual(await logOf(v), ['issued', 'redeemed'])
    assert.notEqual(sent(app)[0].data.key, sent(app)[1].data.key, 'each scan has a key of its own')
    assert.equal(app.mini.storage.has('redeeming'), false)
  })

  test(`${kind}: a scan that is cancelled, one of something else, a code that is typed`, async () => {
    const app = await till(kind)
    scan(app)
    await until('the cancelled scan', () => app.mini.named('scanCode').length === 1)
    await new Promise((resolve) => setTimeout(resolve, 50))
    assert.equal(app.screen.texts('bad').length + app.screen.texts('result').length, 0, 'cancelling is no error')
    scan(app, 'https://elsewhere.example/pay?id=1')
    await shows(app, 'bad', '这不是券码', 'elsewhere.example')
    const v = await issue('凉茶')
    const wrong = (v.code[0] === '2' ? '3' : '2') + v.code.slice(1)
    const typed = async (text) => {
      app.screen.type('或输入券码', text)
      await until('what was typed', () => app.screen.value('或输入券码') === text)
      app.screen.confirm('或输入券码')
    }
    await typed(wrong)
    await shows(app, 'bad', '这不是券码')
    assert.equal(sent(app).length, 0, 'a mistyped code needs no server')
    await typed(v.code.toLowerCase().replace(/8/g, 'b').replace(/.{7}(?=.)/g, '$& - '))
    await shows(app, 'good', '核销成功', '凉茶')
  })

  test(`${kind}: withdrawn, expired and unknown vouchers`, async () => {
    const app = await till(kind)
    const gone = await issue('旧券')
    await call('POST', `/vouchers/${gone.code}/void`, {by: '经理', reason: '下架', key: 'v'})
    scan(app, gone.code)
    await shows(app, 'bad', '已作废')
    const over = await issue('过期券', {expires_at: Date.now() + 300})
    await new Promise((resolve) => setTimeout(resolve, 400))
    scan(app, over.code)
    await shows(app, 'bad', '已过期')
    scan(app, unknown())
    await shows(app, 'bad', '没有这张券')
  })

  test(`${kind}: the answer is lost: the same key again, and one redemption`, async () => {
    const app = await till(kind)
    const v = await issue('烤鸭')
    app.mini.loseAnswers = true // the server redeems it, and nobody knows
    scan(app, v.code)
    await shows(app, 'wait', '结果未知')
    const other = await issue('别的')
    scan(app, other.code) // not before the first is clear
    await until('the try after 3 s', () => sent(app).length >= 2)
    app.mini.loseAnswers = false
    app.screen.tap('现在重试')
    await shows(app, 'good', '核销成功', '烤鸭')
    assert.equal(new Set(sent(app).map((r) => r.data.key)).size, 1)
    assert.deepEqual(await logOf(v), ['issued', 'redeemed'])
    assert.deepEqual(await logOf(other), ['issued'])
  })

  test(`${kind}: no network, then it comes back; the server dies and comes back`, async () => {
    const app = await till(kind)
    const v = await issue('馄饨')
    app.mini.network(false)
    scan(app, v.code)
    await shows(app, 'wait', '结果未知')
    assert.deepEqual(await logOf(v), ['issued'])
    app.mini.network(true)
    await shows(app, 'good', '核销成功', '馄饨')
    const w = await issue('面线')
    await server('kill')
    scan(app, w.code)
    await shows(app, 'wait', '结果未知')
    await server('start')
    await shows(app, 'good', '核销成功', '面线') // by itself
    assert.deepEqual(await logOf(w), ['issued', 'redeemed'])
  })

  test(`${kind}: asleep or killed in the middle: the next life asks with the same key`, async () => {
    let app = await till(kind)
    const v = await issue('锅贴')
    app.mini.loseAnswers = true
    scan(app, v.code)
    await shows(app, 'wait', '结果未知')
    const {key} = sent(app)[0].data
    await app.mini.suspend()
    app.mini.loseAnswers = false
    await app.mini.resume(10 * 60000)
    await shows(app, 'good', '核销成功', '锅贴')
    assert.ok(sent(app).every((r) => r.data.key === key))

    const w = await issue('生煎')
    app.mini.loseAnswers = true
    scan(app, w.code)
    await shows(app, 'wait', '结果未知')
    const open = sent(app).at(-1).data.key
    app = await app.again()
    app.tab('staff')
    await shows(app, 'good', '核销成功', '生煎')
    assert.deepEqual(sent(app).map((r) => r.data.key), [open])
    assert.deepEqual(await logOf(w), ['issued', 'redeemed'])
  })

  test(`${kind}: a wrong PIN, a session that ran out in the middle of a redemption`, async () => {
    const app = await till(kind)
    const v = await issue('汤包')
    await call('PATCH', '/staff/' + encodeURIComponent(app.name), {pin: '731846'}) // ends its tokens
    scan(app, v.code)
    await until('the sign-in', () => app.screen.has('店员登录') && app.screen.texts('bad').length)
    const {key} = sent(app)[0].data
    await signIn(app, app.name, PIN)
    await until('the refusal', () => app.screen.has('店员登录') && app.screen.texts('bad')[0])
    await signIn(app, app.name, '731846')
    await shows(app, 'good', '核销成功', '汤包')
    assert.deepEqual(sent(app).map((r) => r.data.key), [key, key])
    app.screen.tap('退出登录')
    await until('the door', () => app.screen.has('店员登录'))
    assert.equal(app.mini.storage.has('staff'), false)
  })
}

/** A code that is right in itself, and that nobody issued. */
function unknown() {
  const letters = '23456789ACDEFGHJKMNPQRTVWXY'
  for (;;) {
    const code = Array.from({length: 27}, () => letters[Math.floor(Math.random() * 27)]).join('')
    for (const c of letters) {
      const n = [...code + c].reduce((sum, x, i) => sum + (i + 1) * letters.indexOf(x), 0)
      if (n % 29 === 0) return code + c
    }
  }
}
