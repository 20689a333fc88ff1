// My vouchers: what the backend issues and the till redeems is on the page at once, and after a sleep, and in the next life.
import assert from 'node:assert/strict'
import {test} from 'node:test'

import {call, enter, server, until} from './kit.mjs'

let last = 0
const issue = async (owner, name) => (await call('POST', '/vouchers', {name, owner})).vouchers[0]
const redeem = (v, station = '一号窗口') => call('POST', `/vouchers/${v.code}/redeem`, {by: '小王', station, key: 'till-' + ++last})
const groups = (v) => v.code.replace(/.{7}(?=.)/g, '$&-')

/** The card of a voucher, as its text. */
const cardOf = (app, v) => app.screen.texts('card').find((t) => t.includes(groups(v))) ?? ''
const shows = (app, v, words) => until(`${v.name} to be ${words}: ${cardOf(app, v)}`, () => cardOf(app, v).includes(words))
const toasts = (app) => app.mini.named('showToast').map((t) => t.title)

for (const kind of ['wx', 'uni']) {
  test(`${kind}: issued and redeemed while the page is open`, async () => {
    const user = kind + '-open'
    const [old, later] = [await issue(user, '红烧牛肉面'), await issue(user, '酸梅汤')]
    const app = await enter(kind, user)
    app.tab('vouchers')
    await shows(app, old, '可使用')
    assert.deepEqual(app.screen.texts('new'), [], 'history is no news')
    assert.deepEqual(toasts(app), [])

    const fresh = await issue(user, '小笼包')
    await shows(app, fresh, '新')
    assert.deepEqual(toasts(app), ['小笼包：收到一张新券'])
    assert.equal(app.screen.texts('card').length, 3)

    await redeem(old)
    await shows(app, old, '已核销')
    assert.match(cardOf(app, old), /月\d+日 \d\d:\d\d 于 一号窗口 经手 小王/)
    assert.deepEqual(toasts(app), ['小笼包：收到一张新券', '红烧牛肉面：已核销'])
    assert.equal(app.mini.named('vibrateShort').length, 1)
    assert.ok(cardOf(app, later).includes('可使用'))
    assert.ok(app.screen.texts('card')[2].includes('红烧牛肉面'), 'the used one comes last')

    await call('POST', `/vouchers/${old.code}/reverse`, {by: '小王', reason: '退单', key: 'back-' + kind})
    await shows(app, old, '可使用')
    await call('POST', `/vouchers/${later.code}/void`, {by: '小王', reason: '下架', key: 'void-' + kind})
    await shows(app, later, '已作废')

    app.screen.tap(groups(old))
    assert.equal(app.mini.named('setClipboardData')[0].data, old.code)
    app.tab('chat')
    app.tab('vouchers')
    await until('nothing to be new any more', () => app.screen.texts('new').length === 0)
    assert.ok(app.mini.most === 1)
  })

  for (const closeTold of ['late', 'never']) {
    test(`${kind}: redeemed while it slept for 10 minutes (the close is told ${closeTold})`, async () => {
      const user = `${kind}-asleep-${closeTold}`
      const [used, kept] = [await issue(user, '午餐'), await issue(user, '晚餐')]
      const app = await enter(kind, user, {closeTold})
      app.tab('vouchers')
      await shows(app, used, '可使用')
      await app.mini.suspend()
      await redeem(used)
      const gift = await issue(user, '夜宵')
      await new Promise((resolve) => setTimeout(resolve, 100))
      assert.deepEqual(toasts(app), [], 'nothing runs while it sleeps')
      await app.mini.resume(10 * 60000)
      await shows(app, used, '已核销')
      await shows(app, gift, '新')
      assert.ok(cardOf(app, used).includes('新') && !cardOf(app, kept).includes('新'))
      assert.deepEqual(toasts(app), ['午餐：已核销', '夜宵：收到一张新券'])
    })
  }

  test(`${kind}: redeemed while it was dead, and the server too`, async () => {
    const user = kind + '-dead'
    const [used, kept] = [await issue(user, '早餐'), await issue(user, '豆浆')]
    let app = await enter(kind, user)
    app.tab('vouchers')
    await shows(app, kept, '可使用')
    await new Promise((resolve) => setTimeout(resolve, 300)) // places are written within 100 ms
    app.mini.kill()
    await redeem(used)
    await server('kill')
    await server('start')
    app = await app.again()
    await app.live()
    app.tab('vouchers')
    await shows(app, used, '已核销')
    await until('it to be marked as new', () => cardOf(app, used).includes('新'))
    await shows(app, kept, '可使用') // history comes after what is live
    assert.ok(!cardOf(app, kept).includes('新'))
    assert.equal(app.screen.texts('card').length, 2)
  })

  test(`${kind}: more vouchers than a page of history, none twice; another log empties the page`, async () => {
    const user = kind + '-rich'
    const {vouchers} = await call('POST', '/vouchers', {name: '套餐', owner: user, count: 130})
    const app = await enter(kind, user)
    app.tab('vouchers')
    await until('all of them', () => app.screen.texts('card').length === 130)
    await redeem(vouchers[0])
    await shows(app, vouchers[0], '已核销')
    await app.pull()
    await until('the end of the pull', () => app.mini.named('stopPullDownRefresh').length === 1)
    assert.equal(app.screen.texts('card').length, 130)
    assert.ok(cardOf(app, vouchers[0]).includes('已核销'), 'what is older does not come over what is newer')
    await server('kill')
    await server('fresh')
    await until('the other log', () => app.screen.has('还没有券'))
  })
}

test('what a voucher is named is text', async () => {
  for (const kind of ['wx', 'uni']) {
    const name = '<b>面</b> {{1 + 1}}'
    const v = await issue(kind + '-text', name)
    const app = await enter(kind, kind + '-text')
    app.tab('vouchers')
    await shows(app, v, name)
  }
})

test('a page that opens without a server says so, and tries again by a tap', async () => {
  for (const kind of ['wx', 'uni']) {
    const user = kind + '-late'
    const v = await issue(user, '汤')
    let app = await enter(kind, user)
    app.mini.kill()
    await server('kill')
    app = await app.again()
    app.tab('vouchers')
    await server('start')
    await until('the voucher, by itself or by a tap', () => {
      if (app.screen.has('点此重试')) app.screen.tap('点此重试')
      return cardOf(app, v).includes('可使用')
    })
  }
})
