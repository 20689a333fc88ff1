// What an owner's device knows of the vouchers: each change is told once, whichever way it is heard of.
import test from 'node:test'
import assert from 'node:assert/strict'
import {makeShelf, statusAt} from '../web/vouchers_shelf.js'

function device(kept = new Map()) {
  globalThis.localStorage = {getItem: (k) => (kept.has(k) ? kept.get(k) : null), setItem: (k, v) => kept.set(k, v), removeItem: (k) => kept.delete(k)}
  globalThis.document = {hidden: false}
  const d = {kept, told: []}
  d.shelf = makeShelf({told: ({what, voucher, live}) => d.told.push(`${what} ${voucher.code} ${live ? 'now' : 'before'}`), drawn() {}})
  d.list = (vouchers, {now = Date.now()} = {}) => {
    d.shelf.list({usable: vouchers.filter((v) => v.status === 'issued'), newest: vouchers, serverNow: now})
    return d.said()
  }
  d.event = (voucher, at = Date.now()) => {
    const {pass, ...body} = voucher // is in no event
    d.shelf.event({body, at})
    return d.said()
  }
  d.said = () => d.told.splice(0)
  d.shelf.open('alice')
  return d
}

const issued = (code, more) => ({code, name: 'tea', status: 'issued', issued_at: 1000, pass: 'SECRET' + code, ...more})
const redeemed = (code, at = Date.now()) => ({...issued(code), pass: undefined, status: 'redeemed', redeemed_at: at, station: 'Gate 1'})

test('what the first list ever holds is no news; then each change is, once', () => {
  const d = device()
  assert.deepEqual(d.list([issued('a'), issued('b'), redeemed('c', 5)]), [])
  const now = redeemed('a')
  assert.deepEqual(d.event(now), ['redeemed a now'])
  assert.deepEqual(d.event(now), [])
  assert.deepEqual(d.list([now, issued('b')]), [])
  assert.deepEqual(d.event(issued('a')), ['reversed a now'])
  assert.deepEqual(d.list([issued('a'), {...issued('b'), status: 'void', pass: undefined}, issued('d')]), ['issued d before', 'void b before'])
  assert.deepEqual(d.shelf.news.map((n) => n.what).sort(), ['issued', 'void'])
  assert.deepEqual(d.event(issued('e')), ['issued e now'])
})

test('a page that is opened again tells what happened meanwhile as that, however short it was', () => {
  const d = device()
  d.list([issued('a'), issued('b'), issued('c')])
  d.event(redeemed('c'))
  d.shelf.saveNow()
  const again = device(d.kept)
  assert.equal(again.shelf.get('a').pass, 'SECRETa', 'the secret is kept')
  assert.equal(again.shelf.get('c').pass, undefined)
  assert.deepEqual(again.list([redeemed('a'), issued('b')]), ['redeemed a before'])
  assert.deepEqual(again.shelf.news.map((n) => [n.what, n.name, n.station]), [['redeemed', 'tea', 'Gate 1']])
  // And after a sleep the same, but for what is just now.
  assert.deepEqual(again.list([redeemed('a'), redeemed('b', Date.now() - 60_000)]).pop(), 'redeemed b before')
  again.shelf.seen()
  assert.deepEqual(device(again.kept).shelf.news, [])
})

test('an event that comes before the list keeps the secret that is known', () => {
  const d = device()
  d.list([issued('a')])
  d.event({...issued('a'), note: 'changed'})
  assert.equal(d.shelf.get('a').pass, 'SECRETa')
  d.event(issued('new'))
  assert.equal(d.shelf.get('new').pass, undefined)
  d.list([issued('a'), issued('new')])
  assert.equal(d.shelf.get('new').pass, 'SECRETnew')
  assert.deepEqual(d.list([issued('a')]) && d.shelf.get('new'), undefined, 'it is not listed any more')
})

test('time is the server’s, by the last list; a voucher expires without being told', () => {
  const d = device()
  const now = Date.now() + 3_600_000
  d.list([issued('a', {expires_at: now + 1000})], {now})
  assert.ok(Math.abs(d.shelf.now() - now) < 1000)
  assert.equal(statusAt(d.shelf.get('a'), now + 999), 'issued')
  assert.equal(statusAt(d.shelf.get('a'), now + 1000), 'expired')
  assert.equal(statusAt(redeemed('a'), now + 1000), 'redeemed')
  d.shelf.saveNow()
  assert.ok(Math.abs(device(d.kept).shelf.now() - now) < 1000, 'a page without the network knows the clock, too')
})

test('accounts are kept apart, and forgotten when asked to', () => {
  const d = device()
  d.list([issued('a')])
  d.shelf.open('bob')
  assert.deepEqual(d.shelf.all(), [])
  d.list([issued('b')])
  d.shelf.open('alice')
  assert.deepEqual(d.shelf.all().map((v) => v.code), ['a'])
  d.shelf.forget()
  assert.deepEqual([...d.kept.keys()], ['teahouse.vouchers.bob'])
  d.kept.set('teahouse.vouchers.alice', '{broken')
  d.shelf.open('alice')
  assert.deepEqual(d.shelf.all(), [])
})
