// Places: where an app has read in each topic, kept for each account, so that the next run misses nothing.
import test from 'node:test'
import assert from 'node:assert/strict'
import {start, greet, joined, ack, event, lobby, memory} from './fake.mjs'

const inbox = (seq, more) => event(seq, '', {topic: 'user:alice', kind: 'voucher.redeemed', ...more})
const join = (t, i = 0) => {
  const {op, id, ...what} = t.net.last.frames('join')[i]
  return what
}

/** A run in which the lobby was read up to `seq`. */
function ran(storage, seq = 7, options) {
  const t = start({storage})
  lobby(t, options)
  greet(t.net.last, {seq: 4})
  for (let s = 5; s <= seq; s++) t.net.last.say(event(s))
  t.client.close()
  return t
}

test('the inbox begins at the welcome and goes on where it was, over a reload too', async () => {
  const storage = memory()
  const t = start({storage})
  const got = []
  t.client.inbox.on('voucher.redeemed', (e) => got.push(e.seq))
  assert.equal('position' in greet(t.net.last, {seq: 40}), false)
  t.net.last.say(inbox(41))
  t.net.last.end()
  await t.clock.pass(500)
  assert.deepEqual(greet(t.net.last, {seq: 50}).position, {epoch: 'e1', seq: 41})
  t.net.last.say(inbox(41))
  t.net.last.say(inbox(45))
  assert.deepEqual(got, [41, 45])
  t.client.close()
  assert.deepEqual(storage.kept('places'), {epoch: 'e1', places: {'user:alice': 45}})

  const again = start({storage})
  assert.equal(again.client.inbox.place, 45)
  assert.deepEqual(greet(again.net.last, {seq: 60}).position, {epoch: 'e1', seq: 45})
  const other = start({storage, user: 'bob'})
  assert.equal('position' in greet(other.net.last, {user: 'bob'}), false, 'a place belongs to one account')
})

test('the inbox that had nothing yet is not begun anew', () => {
  const storage = memory()
  const t = start({storage})
  greet(t.net.last, {seq: 40})
  // Killed here; then something came.
  assert.deepEqual(greet(start({storage}).net.last, {seq: 41}).position, {epoch: 'e1', seq: 40})
})

test('the next run begins with the newest page, or with the first that was missed', async () => {
  const storage = memory()
  ran(storage)
  const t = start({storage})
  const room = lobby(t)
  assert.equal(room.place, 7)
  greet(t.net.last, {seq: 9, join: false})
  assert.deepEqual(join(t), {topic: 'room:lobby', after: 7, recent: 50})
  joined(t.net.last, t.net.last.frames('join')[0], 9, {after: 3})
  for (const seq of [4, 5, 6, 7, 8]) t.net.last.say(event(seq))
  assert.deepEqual(t.heard, [4, 5, 6, 7, 8], 'a handler of this run hears what an earlier run heard')
  assert.equal(room.place, 7, 'what is above it is new to the person')
  t.net.last.end()
  await t.clock.pass(500)
  greet(t.net.last, {join: false})
  assert.deepEqual(join(t), {topic: 'room:lobby', after: 8}, 'within a run it goes on where it was')
})

test('resume: the next run begins right after the last', () => {
  const storage = memory()
  ran(storage)
  const t = start({storage})
  lobby(t, {resume: true})
  t.client.room('new', {resume: true, recent: 9})
  greet(t.net.last, {join: false})
  assert.deepEqual(join(t), {topic: 'room:lobby', after: 7})
  assert.deepEqual(join(t, 1), {topic: 'room:new', recent: 9})
})

test('a run that ends before it has caught up does not set the place back', () => {
  const storage = memory()
  ran(storage, 20)
  const t = start({storage})
  const room = lobby(t)
  greet(t.net.last, {seq: 25, join: false})
  joined(t.net.last, t.net.last.frames('join')[0], 25, {after: 3})
  t.net.last.say(event(4))
  room.leave()
  lobby(t)
  assert.equal(join(t, 1).after, 20)
  t.client.close()
  assert.equal(storage.kept('places').places['room:lobby'], 20)
})

test('opened again within a run: what came meanwhile is not missed', () => {
  const storage = memory()
  const t = start({storage})
  const room = lobby(t)
  greet(t.net.last, {seq: 4})
  t.net.last.say(event(5))
  room.leave()
  lobby(t)
  assert.deepEqual(join(t, 1), {topic: 'room:lobby', after: 5, recent: 50})
})

test('places are written at once, then once in 100 ms; before a sleep and at the end at once', async () => {
  const storage = memory()
  const t = start({storage})
  lobby(t)
  greet(t.net.last)
  await t.clock.pass(200)
  const place = () => storage.kept('places').places['room:lobby']
  t.net.last.say(event(5))
  assert.equal(place(), 5)
  const before = storage.writes
  for (let seq = 6; seq < 50; seq++) t.net.last.say(event(seq))
  assert.equal(place(), 5)
  await t.clock.pass(99)
  assert.equal(place(), 5)
  await t.clock.pass(1)
  assert.equal(place(), 49)
  assert.equal(storage.writes, before + 1)
  t.net.last.say(event(50))
  t.sleep()
  assert.equal(place(), 50)
  t.net.last.say(event(51))
  t.client.close()
  assert.equal(place(), 51)
  assert.equal(t.clock.timers.size, 0)
})

test('a clock that is set back does not stop the writing', async () => {
  const storage = memory()
  const t = start({storage})
  lobby(t)
  greet(t.net.last)
  await t.clock.pass(200)
  t.clock.time -= 3600000
  t.net.last.say(event(5))
  assert.equal(storage.kept('places').places['room:lobby'], 5)
})

test('a handler that closes: the event that it was told counts as told', () => {
  const storage = memory()
  const t = start({storage})
  const room = lobby(t)
  room.on('message', () => t.client.close())
  greet(t.net.last)
  t.net.last.say(event(5))
  assert.equal(storage.kept('places').places['room:lobby'], 5)
})

test('two tabs: the higher place holds, and each keeps what only the other follows', async () => {
  const storage = memory()
  const one = start({storage})
  const two = start({storage})
  for (const t of [one, two]) {
    lobby(t)
    t.client.room(t === one ? 'one' : 'two')
    greet(t.net.last)
    await t.clock.pass(200)
  }
  one.net.last.say(event(9))
  two.net.last.say(event(5))
  await two.clock.pass(200)
  one.net.last.say(event(7, 'bob', {topic: 'room:one'}))
  two.net.last.say(event(8, 'bob', {topic: 'room:two'}))
  one.client.close()
  two.client.close()
  assert.deepEqual(storage.kept('places').places, {'user:alice': 0, 'room:lobby': 9, 'room:one': 7, 'room:two': 8})
})

test('another epoch: the old places are of no use, and say so to the server even in the next run', async () => {
  const storage = memory()
  ran(storage)
  const t = start({storage})
  const room = lobby(t)
  const resets = []
  room.on('reset', (r) => resets.push(r.reason))
  greet(t.net.last, {seq: 2, epoch: 'e2', join: false})
  assert.equal(room.place, undefined)
  t.client.close()
  const next = start({storage})
  const opened = lobby(next, {resume: true})
  opened.on('reset', (r) => resets.push(r.reason))
  assert.equal(opened.place, undefined)
  assert.equal(greet(next.net.last, {seq: 3, epoch: 'e2', join: false}).position.epoch, 'gone')
  assert.equal(storage.kept('places').places['user:alice'], -1, 'still: killed here, it would be told in the next run')
  next.net.last.say({op: 'reset', topic: 'user:alice', reason: 'epoch', after: 1})
  assert.deepEqual(join(next), {topic: 'room:lobby', after: 1, epoch: 'gone'})
  joined(next.net.last, next.net.last.frames('join')[0], 3, {after: 1})
  next.net.last.say({op: 'reset', topic: 'room:lobby', reason: 'epoch', after: 0})
  next.net.last.say(event(2))
  assert.deepEqual([resets, next.heard], [['epoch'], [2]])
  next.client.close()
  const last = start({storage})
  lobby(last, {resume: true})
  assert.deepEqual(greet(last.net.last, {seq: 3, epoch: 'e2', join: false}).position, {epoch: 'e2', seq: 1})
  assert.deepEqual(join(last), {topic: 'room:lobby', after: 2})
})

test('another epoch that another tab has heard of already: its places hold', () => {
  const storage = memory()
  ran(storage)
  const slow = start({storage})
  const quick = start({storage})
  lobby(quick)
  greet(quick.net.last, {seq: 2, epoch: 'e2', join: false})
  joined(quick.net.last, quick.net.last.frames('join')[0], 2, {after: 1})
  quick.net.last.say({op: 'reset', topic: 'room:lobby', reason: 'epoch', after: 0})
  quick.net.last.say(event(2))
  quick.client.close()
  greet(slow.net.last, {seq: 2, epoch: 'e2'})
  slow.client.close()
  assert.equal(storage.kept('places').places['room:lobby'], 2)
})

test('a reset within an epoch sets the place, also a lower one', () => {
  const storage = memory()
  ran(storage, 30)
  const t = start({storage})
  lobby(t)
  greet(t.net.last, {seq: 20, join: false})
  joined(t.net.last, t.net.last.frames('join')[0], 20, {after: 30})
  t.net.last.say({op: 'reset', topic: 'room:lobby', reason: 'epoch', after: 12})
  assert.equal(storage.kept('places').places['room:lobby'], 12)
})

test('a kill before the app was told of a reset: the next run is told', () => {
  const storage = memory()
  ran(storage)
  const t = start({storage})
  const room = lobby(t)
  let kept
  room.on('reset', () => (kept = storage.kept('places').places['room:lobby']))
  greet(t.net.last, {seq: 9})
  t.net.last.say({op: 'reset', topic: 'room:lobby', reason: 'limit', after: 8})
  assert.equal(kept, 7)
})

test('200 topics are kept, those that moved last; the inbox always', async () => {
  const storage = memory()
  const t = start({storage})
  greet(t.net.last)
  for (let i = 0; i < 250; i++) {
    const room = t.client.room('r' + i)
    joined(t.net.last, t.net.last.frames('join')[i], i)
    t.net.last.say(event(i + 1, 'bob', {topic: 'room:r' + i}))
    if (i === 100) t.net.last.say(event(1000, 'bob', {topic: 'room:r1'}))
    if (i < 200) continue
    room.leave()
  }
  t.client.close()
  const {places} = storage.kept('places')
  assert.equal(Object.keys(places).length, 200)
  assert.deepEqual(['user:alice' in places, 'room:r0' in places, 'room:r1' in places, 'room:r249' in places], [true, false, true, true])
  const next = start({storage})
  next.client.room('r249')
  greet(next.net.last, {join: false})
  assert.equal(join(next).after, 250)
  next.client.close()
  assert.equal(Object.keys(storage.kept('places').places).length, 200)
})

test('an own message counts as read', () => {
  const storage = memory()
  const t = start({storage})
  const room = lobby(t)
  greet(t.net.last)
  room.send({text: 'mine'})
  ack(t.net.last, t.net.last.frames('send')[0], 9)
  t.client.close()
  assert.equal(storage.kept('places').places['room:lobby'], 9)
})
