// Runs a talker, or short sessions, in a real page, as faults_test.go asks through `window.stage`. A reload is a
// reload; what the page must not forget over one is in its localStorage, beside what the SDK keeps there.
import * as sdk from '../../sdk/teahouse.js'
import {Talker} from './talker.mjs'
import {Sessions} from './session.mjs'

/** One item a note: each is written at once, and none twice. */
const notes = {
  length: 0,
  all() {
    const all = []
    for (let i = 0, item; (item = localStorage.getItem(`note ${i}`)) !== null; i++) all.push(JSON.parse(item))
    this.length = all.length
    return all
  },
  add(note) {
    localStorage.setItem(`note ${this.length++}`, JSON.stringify(note))
  },
}

/** What nobody caught; of talkers it is noted, since their page may be gone when somebody asks. */
const mistakes = []
const mistake = (err) => {
  const text = String(err && err.stack || err)
  mistakes.push(text)
  if (talker) talker.fault(text)
}
addEventListener('error', (e) => mistake(e.error || e.message))
addEventListener('unhandledrejection', (e) => mistake(e.reason))

// Every other life ends as that of a page that the system kills: nobody gets a last word.
const end = (e) => talker && talker.life % 2 && e.stopImmediatePropagation()
for (const name of ['pagehide', 'visibilitychange']) addEventListener(name, end, true)

let talker
let sessions
const stage = {
  mistakes: () => mistakes,
  talk(who) {
    localStorage.setItem('who', JSON.stringify(who))
    const place = {sdk, options: {}, notes, wake: () => dispatchEvent(new Event('online'))}
    talker = new Talker(place, who)
  },
  sessions(options) {
    sessions = new Sessions(sdk, () => ({storage: null}), options)
  },
  session: (id, step, ...args) => sessions.step(id, step, ...args),
}
for (const name of ['speak', 'quiet', 'wake', 'slower', 'progress', 'report']) stage[name] = (...args) => talker[name](...args)

/** Each call gives {value} or {error}, like node.mjs. */
window.stage = async (call, ...args) => {
  try {
    const value = await stage[call](...args)
    return {value: value === undefined ? null : value}
  } catch (err) {
    return {error: String(err && err.stack || err)}
  }
}

const who = localStorage.getItem('who')
if (who) {
  stage.talk(JSON.parse(who))
  if (localStorage.getItem('quiet') === null) talker.speak()
}
