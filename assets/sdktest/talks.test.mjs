// Talks of two: they come with the inbox until they are opened.
import test from 'node:test'
import assert from 'node:assert/strict'
import {start, greet, joined, ack, event, memory} from './fake.mjs'

const TALK = 'dm:alice:bob'
const dm = (seq, from = 'bob', more) => event(seq, from, {topic: TALK, ...more})
const inbox = (seq) => event(seq, '', {topic: 'user:alice', kind: 'note'})

function watched(options) {
  const t = start(options)
  t.talks = []
  t.notes = []
  t.heard = []
  t.client.on('talk', (e) => t.talks.push(e.seq))
  t.client.inbox.on('event', (e) => t.notes.push(e.seq))
  return t
}

function open(t, options) {
  const talk = t.client.talk('bob', options)
  talk.on('event', (e) => t.heard.push(e.seq))
  return talk
}

const back = async (t, options) => {
  t.net.last.end()
  await t.clock.pass(t.client.state.delay)
  return greet(t.net.last, options)
}

test('its topic: the smaller id first, by its bytes; % and : escaped', () => {
  const names = {
    alice: {bob: 'dm:alice:bob', Bob: 'dm:Bob:alice', alice: 'dm:alice:alice', 'a:b%': 'dm:a%3Ab%25:alice', '阿明': 'dm:alice:阿明'},
    'b%3A': {b: 'dm:b:b%253A'},
    // In UTF-16 an emoji (d83c…) is below U+FF21, in UTF-8 it is above.
    '🍵': {'Ａ': 'dm:Ａ:🍵', '\ue000': 'dm:\ue000:🍵', '🍴': 'dm:🍴:🍵', z: 'dm:z:🍵'},
    'a🍵': {'aＡ': 'dm:aＡ:a🍵', a: 'dm:a:a🍵'},
  }
  for (const [user, talks] of Object.entries(names)) {
    const {client} = start({user})
    for (const [other, topic] of Object.entries(talks)) {
      assert.equal(client.talk(other).topic, topic)
      const [first, second] = topic.slice(3).split(':').map((s) => Buffer.from(s.replaceAll('%3A', ':').replaceAll('%25', '%')))
      assert.ok(first.compare(second) <= 0, topic)
    }
    client.close()
  }
})

test('a talk that is not open comes with the inbox, is told as such, and moves the inbox’s place', async () => {
  const t = watched()
  greet(t.net.last, {seq: 4})
  t.net.last.say(dm(5))
  t.net.last.say(inbox(6))
  t.net.last.say(dm(7))
  t.net.last.say(dm(7))
  t.net.last.say(dm(5))
  assert.deepEqual([t.talks, t.notes], [[5, 7], [6]])
  assert.equal((await back(t)).position.seq, 7)
  t.net.last.say(dm(7))
  t.net.last.say(dm(8, 'alice')) // from another device
  assert.deepEqual(t.talks, [5, 7, 8])
})

test('opened: it is joined, and has its own place', async () => {
  const t = watched()
  greet(t.net.last, {seq: 4})
  open(t)
  const [join] = t.net.last.frames('join')
  assert.deepEqual([join.topic, join.recent], [TALK, 50])
  t.net.last.say(dm(5)) // the inbox brings it before the join is answered: its own replay does, too
  joined(t.net.last, join, 5, {after: 1})
  for (const seq of [2, 5, 6]) t.net.last.say(dm(seq))
  t.net.last.say(inbox(7))
  assert.deepEqual([t.talks, t.heard, t.notes], [[], [2, 5, 6], [7]])
  const hello = await back(t, {seq: 9, join: false})
  assert.equal(hello.position.seq, 7)
  assert.equal(t.net.last.frames('join')[0].after, 6)
  t.net.last.say(dm(8))
  joined(t.net.last, t.net.last.frames('join')[0], 9)
  t.net.last.say(dm(8))
  t.net.last.say(inbox(9))
  assert.deepEqual([t.talks, t.heard, t.notes], [[], [2, 5, 6, 8], [7, 9]])
})

test('what was read in it is no news in the next run; what was only announced is', () => {
  const storage = memory()
  const t = watched({storage})
  greet(t.net.last, {seq: 4, join: false})
  open(t)
  joined(t.net.last, t.net.last.frames('join')[0], 4)
  t.net.last.say(dm(5))
  t.client.close()
  const next = watched({storage})
  assert.equal(greet(next.net.last, {seq: 9}).position.seq, 4)
  next.net.last.say(dm(5))
  next.net.last.say(dm(6))
  assert.deepEqual(next.talks, [6])
  const talk = open(next, {resume: true})
  assert.equal(talk.place, 5)
  assert.equal(next.net.last.frames('join')[0].after, 5, 'that somebody wrote is not to have read it')
})

test('left: it comes with the inbox again, and what its own stream still brings does not move the inbox', async () => {
  const t = watched()
  greet(t.net.last, {seq: 4})
  const talk = open(t)
  joined(t.net.last, t.net.last.frames('join')[0], 4)
  t.net.last.say(dm(5))
  talk.leave()
  t.net.last.say(dm(9)) // said before the server heard of the leaving; the inbox is still behind
  t.net.last.say(inbox(6))
  const [leave] = t.net.last.frames('leave')
  t.net.last.say({op: 'left', id: leave.id, topic: TALK})
  t.net.last.say(inbox(7))
  t.net.last.say(dm(9)) // the inbox comes by it, too
  t.net.last.say(dm(10))
  assert.deepEqual([t.heard, t.notes, t.talks], [[5], [6, 7], [9, 10]])
  assert.equal((await back(t)).position.seq, 10)
})

test('left and opened again before the server answers', () => {
  const t = watched()
  greet(t.net.last, {seq: 4})
  open(t).leave()
  open(t)
  const [first, second] = t.net.last.frames('join')
  joined(t.net.last, first, 4)
  t.net.last.say(dm(8))
  t.net.last.say({op: 'left', id: t.net.last.frames('leave')[0].id, topic: TALK})
  t.net.last.say(dm(9))
  t.net.last.say(inbox(10))
  joined(t.net.last, second, 10, {after: 4})
  t.net.last.say(dm(8))
  t.net.last.say(dm(9))
  assert.deepEqual([t.heard, t.talks, t.notes], [[8, 9], [], [10]])
})

test('a send into a talk that is not open is settled, and moves nothing', async () => {
  const storage = memory()
  const before = start({storage})
  before.client.talk('bob').send({text: 'mine'})
  before.client.close()
  const t = watched({storage})
  greet(t.net.last, {seq: 4})
  ack(t.net.last, t.net.last.frames('send')[0], 9)
  assert.deepEqual(t.client.outbox, [])
  t.net.last.say(inbox(6))
  assert.deepEqual([t.notes, t.talks], [[6], []])
})

test('opened while a send is on its way: its ack moves nothing, the talk’s replay has it', () => {
  const t = watched()
  greet(t.net.last, {seq: 4})
  const talk = open(t)
  joined(t.net.last, t.net.last.frames('join')[0], 4)
  talk.leave()
  t.net.last.say({op: 'left', id: t.net.last.frames('leave')[0].id, topic: TALK})
  talk.send({text: 'mine'})
  open(t)
  ack(t.net.last, t.net.last.frames('send')[0], 9)
  t.net.last.say(inbox(6))
  joined(t.net.last, t.net.last.frames('join')[1], 9, {after: 4})
  t.net.last.say(dm(9, 'alice'))
  assert.deepEqual([t.notes, t.talks, t.heard], [[6], [], [9]])
})

test('closed by a handler before the event was handed over: no place moves', () => {
  for (const end of ['ack', 'event']) {
    const storage = memory()
    const t = watched({storage})
    greet(t.net.last, {seq: 4})
    const talk = open(t)
    joined(t.net.last, t.net.last.frames('join')[0], 4)
    talk.on('outbox', (o) => o.state === 'sent' && t.client.close())
    talk.send({text: 'mine'}, {key: 'k'})
    if (end === 'ack') ack(t.net.last, t.net.last.frames('send')[0], 9)
    else t.net.last.say(dm(9, 'alice', {key: 'k'}))
    assert.deepEqual(storage.kept('places').places, {'user:alice': 4, [TALK]: 4})
    assert.deepEqual(t.heard, [])
    assert.equal(t.clock.timers.size, 0)
  }
})

test('what comes before the welcome is of another connection', () => {
  const t = watched()
  t.net.last.open()
  t.net.last.say(dm(9))
  greet(t.net.last, {seq: 4})
  t.net.last.say(inbox(5))
  assert.deepEqual([t.talks, t.notes], [[], [5]])
})

test('the own inbox is one topic, whoever asks for it; it cannot be left', () => {
  const t = start()
  assert.equal(t.client.topic('user:alice'), t.client.inbox)
  const heard = []
  t.client.inbox.on('event', (e) => heard.push(e.seq))
  t.client.inbox.send({text: 'to my other devices'})
  t.client.inbox.leave()
  greet(t.net.last, {seq: 4})
  assert.deepEqual(t.net.last.sent.map((f) => f.op), ['hello', 'send'])
  ack(t.net.last, t.net.last.frames('send')[0], 5)
  t.net.last.say(inbox(5))
  t.net.last.say(inbox(6))
  assert.deepEqual(heard, [5, 6])
})

test('another epoch: a talk that was never opened here is told all the same', async () => {
  const t = watched()
  greet(t.net.last, {seq: 40})
  open(t).leave()
  t.net.last.say(dm(41))
  await back(t, {seq: 3, epoch: 'e2', join: false})
  t.net.last.say({op: 'reset', topic: 'user:alice', reason: 'epoch', after: 1})
  t.net.last.say(dm(2))
  t.net.last.say(inbox(3))
  assert.deepEqual([t.talks, t.notes], [[41, 2], [3]])
})
