// What the chat page makes of a message's body, whoever wrote it.
import test from 'node:test'
import assert from 'node:assert/strict'
import {readBody, captionOf, oneLine, box, fileAddress} from '../web/body.js'

const nothing = {recalled: false, text: undefined, reply: null, mentions: [], file: null}

test('whatever a body is, it is read', () => {
  for (const body of [undefined, null, 7, 'text', true, [], [{text: 'x'}], {}, {text: 7}, {reply: 'x', mentions: 'x', file: 'x'},
    {reply: {seq: '1'}}, {reply: {seq: -1}}, {reply: {seq: 1.5}}, {mentions: [7, null, {}, '']}, {file: []}, {recalled: 'yes'}]) {
    assert.deepEqual(readBody(body), nothing, JSON.stringify(body))
  }
})

test('a body as clients write it', () => {
  const said = readBody({text: 'hi', reply: {seq: 41, from: 'bob', text: 'x'}, mentions: ['bob', 'alice'], more: 1})
  assert.deepEqual(said, {...nothing, text: 'hi', reply: {seq: 41, from: 'bob', text: 'x'}, mentions: ['bob', 'alice']})
  assert.equal(readBody({recalled: true, text: 'x'}).recalled, true)
  assert.equal(readBody({reply: {seq: 1, from: 7, text: 'x'.repeat(999)}}).reply.text.length, 200)
})

const id = 'abcdefghijklmnopqrstuvwxyz'
const file = (f) => readBody({text: '', file: {id, name: 'n', type: 'image/png', size: 1, ...f}}).file

test('how a file is shown follows from its type; an address is made of nothing but a real id', () => {
  for (const [type, view] of [['image/png', 'picture'], ['IMAGE/JPEG', 'picture'], ['image/svg+xml', 'file'], ['image/tiff', 'file'], ['text/html', 'file'],
    ['audio/webm;codecs=opus', 'audio'], ['video/mp4', 'video'], ['application/pdf', 'file'], ['', 'file'], [undefined, 'file'], ['audio/<b>', 'file']]) {
    assert.equal(file({type}).view, view, type)
  }
  assert.equal(file({type: 'audio/mp4', duration_ms: 7000}).view, 'voice')
  assert.equal(file({type: 'audio/mp4', duration_ms: '7000'}).view, 'audio')
  for (const wrong of ['', '../../api', 'x/y', 'javascript:x', 7, null, 'a'.repeat(129), 'short', 'a b c d e f']) {
    assert.equal(file({id: wrong}).url, '', String(wrong))
    assert.equal(file({thumb: wrong}).thumb, '', String(wrong))
  }
  assert.equal(file({name: 'a/b?c#d "茶".png'}).url, `/files/${id}/a%2Fb%3Fc%23d%20%22%E8%8C%B6%22.png`)
  assert.equal(fileAddress(id, '\ud800'), `/files/${id}/%EF%BF%BD`)
  assert.deepEqual([file({width: -1}).width, file({width: '9'}).width, file({width: 1e9}).width, file({width: 12.6}).width], [0, 0, 0, 13])
})

test('a caption is what is not just the name', () => {
  assert.equal(captionOf(readBody({text: 'n', file: {id, name: 'n'}})), '')
  assert.equal(captionOf(readBody({text: 'look', file: {id, name: 'n'}})), 'look')
  assert.equal(captionOf(readBody({text: 'n'})), 'n')
})

test('one line, and never half a letter', () => {
  assert.equal(oneLine(' a\n\n b '), 'a b')
  assert.equal(oneLine('茶'.repeat(200), 5), '茶茶茶茶…')
  assert.equal(oneLine('😀'.repeat(6), 5), '😀😀😀😀…')
  assert.equal(oneLine('😀'.repeat(5), 5), '😀😀😀😀😀')
})

test('the box of a picture keeps its form, within bounds', () => {
  assert.deepEqual(box({width: 800, height: 600}, 280, 320), {width: 280, height: 210})
  assert.deepEqual(box({width: 600, height: 1200}, 280, 320), {width: 160, height: 320})
  assert.deepEqual(box({width: 100, height: 50}, 280, 320), {width: 100, height: 50})
  assert.deepEqual(box({width: 10000, height: 10}, 280, 320), {width: 280, height: 48})
  assert.deepEqual(box({width: 0, height: 0}, 280, 320), {width: 240, height: 180})
})
