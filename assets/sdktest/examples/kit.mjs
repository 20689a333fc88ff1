// What the tests of the examples share: the real server, and people with phones.
import assert from 'node:assert/strict'
import {afterEach} from 'node:test'

import WebSocket from 'ws'

import {makeMini} from '../mini.mjs'
import {startUni} from './uniapp.mjs'
import {until} from './screen.mjs'
import {startWx} from './wxapp.mjs'

export {until}
export const url = process.env.TEAHOUSE_URL
export const host = url?.replace('http://', '')

/** Calls the server as a backend does. */
export async function call(method, path, body, more = {}) {
  const res = await fetch(url + '/api/v1' + path, {
    method, body: body && JSON.stringify(body), headers: {authorization: 'Bearer ' + process.env.TEAHOUSE_KEY, ...more},
  })
  const text = await res.text()
  assert.ok(res.ok, `${method} ${path}: ${res.status} ${text}`)
  return text ? JSON.parse(text) : undefined
}

/** The server's process: kill, start, fresh (another log at the same address), strict (only small bodies). */
export async function server(what) {
  const res = await fetch(process.env.TEAHOUSE_CONTROL + '/' + what)
  assert.ok(res.ok)
  await res.text()
}

export async function history(topic) {
  return (await call('GET', `/topics/${encodeURIComponent(topic)}/events?limit=500`)).events
}

const running = new Set()
afterEach(() => {
  running.forEach((mini) => mini.kill())
  running.clear()
})

/** Starts the example of a kind on a new phone, or in a next life. */
export async function start(kind, options = {}, mini = makeMini({api: kind, WebSocket, ...options})) {
  running.add(mini)
  const app = await (kind === 'wx' ? startWx(mini) : startUni(mini))
  app.again = async (more) => {
    running.delete(mini)
    return start(kind, options, mini.kill()(more))
  }
  app.live = () => until(`${kind} to be live`, () => app.client()?.state.name === 'live')
  return app
}

/** Signs in on the page for it, and waits until the chat is live. */
export async function enter(kind, user, options) {
  const app = await start(kind, options)
  app.screen.type('例如 192.168.1.5:8040', host)
  app.screen.type('名字', user)
  await until('what was typed', () => app.screen.value('名字') === user)
  app.screen.tap('进入')
  await until('the chat', () => app.screen.has('已连接'))
  return app
}

/** The chat's lines, each as its text. */
export const bubbles = (app) => app.screen.texts('bubble')

export async function say(app, text) {
  app.screen.type('说点什么', text)
  await until('the draft', () => app.screen.value('说点什么') === text)
  app.screen.tap('发送')
}

export const sees = (app, ...texts) =>
  until(`${app.kind} to see ${texts}`, () => {
    const seen = bubbles(app)
    return texts.every((t) => seen.includes(t))
  })

/** No event may be shown twice or out of the log's order. */
export async function asTheLog(apps, topic = 'room:lobby', last = 50) {
  const log = (await history(topic)).slice(-last).map((e) => e.body.text)
  for (const app of apps) {
    await until(`${app.kind} to show the log`, () => bubbles(app).slice(-log.length).join('\n') === log.join('\n')).catch((e) => {
      assert.deepEqual(bubbles(app).slice(-log.length), log, e.message)
    })
  }
}
