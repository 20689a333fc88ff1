// Files on their way: a line in the room for each, which becomes a message when the file is on the server.
import {t} from './i18n.js'
import {upload} from './upload.js'
import {keepCopy} from './media.js'
import * as shelf from './shelf.js'

const AT_ONCE = 2

/**
 * A file that a person sends: `about` goes into the message's body.
 * @typedef {{blob: Blob, url?: string, thumb?: Blob|null,
 *   about: {name: string, type: string, size: number, width?: number, height?: number, duration_ms?: number}}} Attachment
 */

export function makeSending(ctx) {
  const queue = []
  const running = new Set()

  /** body: the caption, reply and mentions that go with it. before: the job whose message comes first. */
  function begin(room, {blob, url, thumb, about}, body, before) {
    const job = {id: newId(), user: ctx.me(), topic: room.topic, blob, thumb: thumb || null, about, body, before}
    keep(job)
    add(room, job, url)
    return job
  }

  async function keep(job) {
    job.kept = shelf.keep({id: job.id, user: job.user, topic: job.topic, blob: job.blob, thumb: job.thumb, about: job.about, body: job.body, made: job.made})
    if (!(await job.kept)) job.loose = true
  }

  function add(room, job, url = URL.createObjectURL(job.blob)) {
    job.settled = new Promise((resolve) => { job.settle = resolve })
    job.room = room
    job.url = url
    job.local = {url, progress: 0, stage: 'queued', cancel: () => cancel(job), retry: () => retry(job)}
    // Nobody else sees it yet, so its place is at the end, and its time is now.
    job.item = {kind: 'message', body: {...job.body, text: job.body.text || job.about.name, file: job.about}, local: job.local, status: 'sending'}
    const made = room.addLocal(job.item)
    if (made) job.item = made
    queue.push(job)
    next()
  }

  function next() {
    while (running.size < AT_ONCE && queue.length) {
      const job = queue.shift()
      running.add(job)
      run(job).catch((err) => failed(job, err)).then(() => {
        job.settle()
        running.delete(job)
        next()
      })
    }
  }

  async function run(job) {
    const {about} = job
    const part = job.thumb ? job.blob.size / (job.blob.size + job.thumb.size) : 1
    stage(job, 'uploading')
    const send = (blob, name, type, address, onAddress, onPart) => {
      job.upload = upload(blob, {name, type, address, onAddress, token: ctx.token, onStage: (s) => stage(job, s), onProgress: (p) => progress(job, onPart(p))})
      return job.upload.done
    }
    const file = await send(job.blob, about.name, about.type, job.address, (address) => {
      job.address = address
      job.kept.then(() => shelf.note(job.id, {address}))
    }, (p) => p * part)
    if (job.over) return
    let thumb = job.thumbId
    if (job.thumb && !thumb) {
      const small = await send(job.thumb, 'thumb', job.thumb.type, undefined, () => {}, (p) => part + p * (1 - part))
      thumb = small.id
      job.kept.then(() => shelf.note(job.id, {thumbId: thumb}))
    }
    // What was chosen together is said in the order of the choice, whatever was faster.
    if (job.before) await job.before.settled
    if (job.over) return
    keepCopy(file.id, job.url)
    // The key is the job's: if the page is reloaded right now, the message is sent once all the same.
    const body = {...job.body, text: job.body.text || file.name, file: {...about, id: file.id, name: file.name, type: file.type, size: file.size}}
    if (thumb) body.file.thumb = thumb
    job.over = true
    job.room.send(body, {instead: job.item, key: 'file-' + job.id})
    await job.kept
    shelf.forget(job.id)
  }

  function stage(job, now) {
    if (job.over || job.local.stage === now) return
    job.local.stage = now
    job.room.touch(job.item)
  }

  function progress(job, part) {
    if (job.over) return
    job.local.progress = part
    job.room.touch(job.item)
  }

  function failed(job, err) {
    if (job.over || err.code === 'cancelled') return
    job.item.status = 'failed'
    job.item.error = err
    job.local.stage = 'failed'
    job.room.touch(job.item)
  }

  function retry(job) {
    if (job.over || queue.includes(job) || running.has(job)) return
    job.item.status = 'sending'
    job.item.error = undefined
    job.local.stage = 'queued'
    job.room.touch(job.item)
    queue.push(job)
    next()
  }

  function cancel(job) {
    if (job.over) return
    job.over = true
    job.settle()
    if (queue.includes(job)) queue.splice(queue.indexOf(job), 1)
    if (job.upload) job.upload.cancel()
    shelf.forget(job.id)
    job.room.drop(job.item)
    URL.revokeObjectURL(job.url)
    ctx.cancelled(job.room, job.body)
  }

  const jobs = () => [...queue, ...running]

  // What the browser could not keep would be lost without a word.
  window.addEventListener('beforeunload', (e) => {
    const loose = jobs().filter((j) => j.loose && !j.over)
    if (!loose.length) return
    try {
      sessionStorage.setItem('teahouse.lost', JSON.stringify(loose.map((j) => j.about.name)))
    } catch (err) { /* then it is not said */ }
    e.preventDefault()
    e.returnValue = t('still_uploading')
  })

  return {
    begin,
    /** Goes on with what a reload interrupted; openRoom(topic) gives the room of a topic. */
    async restore(openRoom) {
      try {
        const lost = JSON.parse(sessionStorage.getItem('teahouse.lost') || '[]')
        sessionStorage.removeItem('teahouse.lost')
        if (lost.length) ctx.toast(t('upload_lost', {names: lost.join(', ')}))
      } catch (err) { /* nothing is known of any */ }
      const user = ctx.me()
      const left = await shelf.unfinished(user)
      if (user !== ctx.me()) return
      for (const {id, topic, blob, thumb, about, body, address, thumbId, made} of left) {
        const room = openRoom(topic)
        if (room) add(room, {id, user, topic, blob, thumb, about, body, address, thumbId, made, kept: Promise.resolve(true)})
      }
      if (left.length) ctx.toast(t('upload_resumed'))
    },
    /** The person goes: uploads end here, and wait for this user to come back. */
    stop() {
      for (const job of jobs()) {
        job.over = true
        if (job.upload) job.upload.leave()
        if (!job.loose) shelf.release(job.id)
        job.room.drop(job.item)
      }
      queue.length = 0
    },
  }
}

const newId = () => Array.from(crypto.getRandomValues(new Uint8Array(12)), (b) => b.toString(16).padStart(2, '0')).join('')
