// Where one writes.
import {$, memory} from './dom.js'
import {t, onLang} from './i18n.js'
import {byteLength, findMentions} from './links.js'
import {readBody, captionOf, oneLine} from './body.js'
import {summary} from './message.js'
import {makeMentions} from './mention.js'
import {makeAttach} from './attach.js'
import {makeVoice} from './voice.js'
import {makeSending} from './sending.js'
import {makeActions} from './actions.js'

const SAY_TYPING = 3000 // ms between two signals that one is writing
const BODY = 16 * 1024 // bytes of a message's body, unless the server says otherwise
const NEAR = 0.8 // of them, from where on it is counted before the writer's eyes
const QUOTED = 100 // letters of a quote

/** ctx is what the page offers: see chat.js. */
export function makeComposer(ctx) {
  const box = $('composer')
  const form = $('composer-form')
  const touch = window.matchMedia ? matchMedia('(hover: none) and (pointer: coarse)') : {matches: false}
  let room = null
  let told = 0
  let reply = null // what is answered: {seq, from, text}
  let called = [] // names that were chosen behind an @; they may have gone since
  let composing = false
  let composed = 0 // when an input method was last done
  const waiting = new Map() // topic -> files about to be sent there

  function complain(text) {
    $('composer-error').textContent = text
  }

  const attach = makeAttach(ctx, {complain, changed() {
    attach.show()
    fit()
  }})
  const sending = makeSending(Object.assign(ctx, {cancelled}))
  const voice = makeVoice({
    complain,
    busy: (is) => form.classList.toggle('recording', is),
    send(attachment) {
      sending.begin(room, attachment, extras(''))
      setReply(null)
    },
  })
  const others = () => ctx.online().filter((n) => n !== ctx.me())
  const mentions = makeMentions(box, $('mentions'), others, (name) => {
    called.push(name)
    changed()
  })
  makeActions(ctx, edit)

  function fit() {
    $('send').disabled = !box.value.trim() && !attach.size
    form.classList.toggle('filled', !$('send').disabled)
    box.style.height = 'auto'
    // At most what the style sheet allows; and nothing while the house is still hidden.
    if (box.scrollHeight) box.style.height = box.scrollHeight + 2 + 'px'
    count()
  }

  /** The body of a text, with what is answered and who is called. */
  function extras(text) {
    const body = {text}
    if (reply) body.reply = reply
    const names = findMentions(text, [...new Set([...called, ...others()])]).map((m) => m.name)
    if (names.length) body.mentions = [...new Set(names)].slice(0, 50)
    return body
  }

  const written = () => box.value.replace(/^\s*\n|\s+$/g, '') // an indent in the first line stays

  /** Bytes that are too many, below 0 if it fits. */
  function over(body) {
    return byteLength(JSON.stringify(body)) - (ctx.limits().body || BODY)
  }

  function count() {
    const counter = $('counter')
    // Bytes of a text are at most thrice its length: most need no counting.
    const far = box.value.length * 3 < BODY * NEAR / 2
    const n = far ? -BODY : over(extras(written()))
    const near = n > -BODY * (1 - NEAR)
    counter.hidden = !near
    counter.textContent = near ? t(n > 0 ? 'text_over' : 'text_left', {n: Math.abs(n)}) : ''
    counter.classList.toggle('over', n > 0)
    if (n > 0) box.setAttribute('aria-invalid', 'true')
    else box.removeAttribute('aria-invalid')
  }

  function tell(is) {
    const now = Date.now()
    if (is ? now - told < SAY_TYPING : !told) return
    told = is ? now : 0
    ctx.typing(is)
  }

  async function submit() {
    const text = written()
    if (!room || (!text && !attach.size)) return
    const body = extras(text)
    const n = over(body)
    if (n > 0) return complain(t('too_long_to_send', {n}))
    complain('')
    box.value = ''
    called = []
    setReply(null)
    mentions.close()
    changed()
    told = 0 // the message itself says that the writing is over
    box.focus()
    const where = room
    if (!attach.size) return where.send(body)
    const files = await attach.takeAll()
    fit()
    // The text goes with the first one.
    files.reduce((before, f) => sending.begin(where, f, before ? {text: ''} : body, before), null)
  }

  // An upload was cancelled: its caption is not lost.
  function cancelled(where, body) {
    if (where === room && body.text && !box.value) edit(body.text)
  }

  // The draft of each room.

  const draftName = (topic) => 'draft.' + topic

  function readDraft(topic) {
    try {
      const d = JSON.parse(memory.get(draftName(topic)) || '{}')
      return {
        text: typeof d.text === 'string' ? d.text : '',
        reply: readBody({reply: d.reply}).reply,
        called: Array.isArray(d.called) ? d.called.filter((n) => typeof n === 'string') : [],
      }
    } catch (err) {
      return {text: '', reply: null, called: []}
    }
  }

  function saveDraft() {
    if (!room) return
    const keep = box.value.trim() || reply
    memory.set(draftName(room.topic), keep ? JSON.stringify({text: box.value, reply, called}) : '')
    if (ctx.drafted) ctx.drafted(room.topic)
  }

  let saving = 0
  function changed() {
    fit()
    clearTimeout(saving)
    saving = setTimeout(saveDraft, 300)
  }
  const saveNow = () => {
    clearTimeout(saving)
    saveDraft()
  }
  window.addEventListener('pagehide', saveNow)
  document.addEventListener('visibilitychange', () => document.hidden && saveNow())

  function close() {
    if (!room) return
    saveNow()
    tell(false)
    voice.close()
    mentions.close()
    complain('')
    const files = attach.swap([])
    if (files.length) waiting.set(room.topic, files)
    else waiting.delete(room.topic)
    room = null
  }

  function open(next) {
    if (room === next) return
    close()
    room = next
    const draft = readDraft(room.topic)
    box.value = draft.text
    called = draft.called
    setReply(draft.reply)
    attach.swap(waiting.get(room.topic))
    clearTimeout(saving)
    fit()
  }

  function setReply(to) {
    reply = to ? {seq: to.seq, from: to.from, text: to.text} : null
    $('replying').hidden = !reply
    showReply()
  }

  function showReply() {
    if (!reply) return
    $('replying-to').textContent = t('replying_to', {who: reply.from})
    $('replying-text').textContent = reply.text
  }

  /** Puts a text where one writes, before what stands there already. */
  function edit(text) {
    if (!text) return
    box.value = box.value.trim() ? text + '\n' + box.value : text
    changed()
    box.focus()
    box.setSelectionRange(text.length, text.length)
  }

  function mention(name) {
    called.push(name)
    const before = box.value.slice(0, box.selectionStart)
    box.setRangeText((/(^|\s)$/.test(before) ? '' : ' ') + '@' + name + ' ', box.selectionStart, box.selectionEnd, 'end')
    changed()
    box.focus()
  }

  box.addEventListener('input', () => {
    complain('')
    changed()
    tell(box.value.trim() !== '')
  })
  box.addEventListener('blur', () => tell(false))
  box.addEventListener('compositionstart', () => { composing = true })
  box.addEventListener('compositionend', () => {
    composing = false
    composed = Date.now()
  })
  box.addEventListener('keydown', (e) => {
    // An input method uses Enter to choose. Browsers say so in three ways, and Safari ends the composing just
    // before the key that ended it, which then looks like any other but for its code.
    const method = e.isComposing || composing || e.keyCode === 229
    if (method || mentions.key(e)) return
    if (e.key === 'Escape' && reply) {
      e.stopPropagation()
      return setReplyByHand(null)
    }
    if (e.key !== 'Enter' || e.shiftKey || e.altKey) return
    if (touch.matches && !e.ctrlKey && !e.metaKey) return // a phone's Enter breaks the line
    e.preventDefault()
    if (Date.now() - composed < 30) return // the same key, for browsers that say nothing of it
    submit()
  })
  // Some keyboards and remote controls send the line break as a key press of its own.
  box.addEventListener('keypress', (e) => { if (e.key === 'Enter' && !e.shiftKey && !touch.matches) e.preventDefault() })
  // A tap on a button must not close the keyboard of a phone.
  for (const id of ['send', 'attach']) $(id).addEventListener('pointerdown', (e) => e.preventDefault())
  form.addEventListener('submit', (e) => {
    e.preventDefault()
    submit()
  })
  function setReplyByHand(to) {
    setReply(to)
    changed()
    box.focus()
  }
  $('replying-cancel').addEventListener('click', () => setReplyByHand(null))
  onLang(() => {
    box.enterKeyHint = touch.matches ? 'enter' : 'send'
    showReply()
    complain('')
    fit()
  })

  return {
    open,
    close,
    mention,
    focus: () => box.focus(),
    setReply(item) {
      if (!item) return setReplyByHand(null)
      const said = readBody(item.body)
      setReplyByHand({seq: item.seq, from: item.from, text: said.file ? summary(item) : oneLine(captionOf(said), QUOTED)})
    },
    draft: (topic) => (room && room.topic === topic ? box.value.trim() : readDraft(topic).text.trim()),
    restore: sending.restore,
    stop: sending.stop,
  }
}
