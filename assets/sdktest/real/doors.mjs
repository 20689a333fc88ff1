// Rooms with a code and claimed names, for doors_sdk_test.go: the SDK against the real server. Says "fine" in the end.
import assert from 'node:assert/strict'
import {webcrypto} from 'node:crypto'
import {pathToFileURL} from 'node:url'
import WebSocket from 'ws'

globalThis.crypto ??= webcrypto // Node 18

const [, , file, url] = process.argv
const {connect} = await import(pathToFileURL(file).href)
const open = []

function enter(user, options) {
  let last
  class Socket extends WebSocket {
    constructor(at) {
      super(at)
      last = this
    }
  }
  const client = connect({url, user, WebSocket: Socket, storage: null, ...options})
  open.push(client)
  client.breaks = () => last.terminate()
  return client
}

/** Waits for the state with this name. */
function state(client, name) {
  return new Promise((resolve) => {
    const look = () => client.state.name === name && resolve(client.state)
    client.on('state', look)
    look()
  })
}

const happens = (emitter, name) => new Promise((resolve) => emitter.on(name, resolve))

// Alice makes a room, and gives it a code.
const alice = enter('alice')
await state(alice, 'live')
const den = alice.room('den')
await happens(den, 'joined')
await den.send({text: 'among us'})
await den.protect('tea at four')

// Bob is refused without it, and with another one.
const bob = enter('bob')
await state(bob, 'live')
assert.equal((await happens(bob.room('den'), 'error')).code, 'code_needed')
await assert.rejects(bob.topic('room:den2').protect('abc'), {code: 'bad_request'})
assert.equal((await happens(bob.room('den', {code: 'tea at five'}), 'error')).code, 'bad_code')
await assert.rejects(bob.topic('room:lobby').protect('open sesame'), {code: 'forbidden'})

// With the right one he reads what was said, and is heard.
const his = bob.room('den', {code: 'tea at four'})
const first = happens(his, 'event')
assert.equal((await happens(his, 'joined')).locked, true)
assert.equal((await first).body.text, 'among us')
const heard = happens(den, 'event')
await his.send({text: 'here I am'})
assert.equal((await heard).body.text, 'here I am')

// The network breaks, and he is in again by himself.
const again = happens(his, 'joined')
bob.breaks()
await again
const more = happens(den, 'event')
await his.send({text: 'here again'})
assert.equal((await more).body.text, 'here again')

// The code is another one: he is put out and told so; with that one he is in.
const out = happens(his, 'error')
await den.protect('tea at six')
assert.equal((await out).code, 'code_needed')
await assert.rejects(his.history(), {code: 'code_needed'})
const anew = bob.room('den', {code: 'tea at six'})
await happens(anew, 'joined')
await anew.protect('') // and it is for all
const carol = enter('carol')
assert.equal((await happens(carol.room('den'), 'joined')).locked, undefined)

// A name belongs to who has its secret.
const secret = 'kq3x-random-7hqe-9vw2'
const dora = enter('Dora', {secret})
assert.equal((await state(dora, 'live')).claimed, true)
assert.equal((await state(enter('Dora', {secret}), 'live')).claimed, true)
for (const options of [{secret: 'somebody-else-entirely'}, {}]) {
  const refused = await state(enter('dora', options), 'closed')
  assert.equal(refused.error, 'name_taken')
  assert.notEqual(refused.reason, '')
}
assert.equal((await state(enter('dave'), 'live')).claimed, undefined)

for (const client of open) client.close()
process.stdout.write('fine\n')
