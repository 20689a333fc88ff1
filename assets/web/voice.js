// Recording a voice message, where the browser can.
import {$, el, icon} from './dom.js'
import {t, onLang} from './i18n.js'
import {durationText} from './links.js'
import {fileNode, endVoice} from './media.js'

const MOST = 5 * 60000 // ms of one message
const LEAST = 700 // shorter ones are a slip
// MP4 first: every browser plays it; WebM is not played by older Apple ones.
const TYPES = ['audio/mp4;codecs=mp4a.40.2', 'audio/mp4', 'audio/webm;codecs=opus', 'audio/webm', 'audio/ogg;codecs=opus']

const can = () => !!(window.MediaRecorder && navigator.mediaDevices && navigator.mediaDevices.getUserMedia)

/** send({blob, url, about}) is called with a message; busy(bool) while the recorder is open; complain(text) says what went wrong. */
export function makeVoice({send, busy, complain}) {
  const button = $('record')
  const sheet = $('recorder')
  button.hidden = !can()
  let take = null // the one that is being recorded, or listened to

  async function start() {
    complain('')
    let stream
    try {
      stream = await navigator.mediaDevices.getUserMedia({audio: {echoCancellation: true, noiseSuppression: true, autoGainControl: true}})
    } catch (err) {
      const words = {NotFoundError: 'no_microphone', NotAllowedError: 'microphone_refused', SecurityError: 'microphone_refused', NotReadableError: 'microphone_busy'}[err.name]
      return complain(words ? t(words) : t('recording_failed', {why: err.message}))
    }
    try {
      record(stream)
    } catch (err) {
      release(stream)
      complain(t('recording_failed', {why: err.message}))
    }
  }

  function record(stream) {
    const type = TYPES.find((x) => MediaRecorder.isTypeSupported(x))
    const recorder = new MediaRecorder(stream, type ? {mimeType: type, audioBitsPerSecond: 32000} : {})
    const mine = (take = {stream, recorder, parts: [], began: performance.now(), length: 0, wanted: ''})
    recorder.ondataavailable = (e) => e.data.size && mine.parts.push(e.data)
    recorder.onerror = (e) => {
      complain(t('recording_failed', {why: (e.error && e.error.message) || ''}))
      close()
    }
    recorder.onstop = () => mine === take && stopped(mine)
    recorder.start(1000)
    meter(mine)
    showRecording(mine)
    busy(true)
  }

  // How loud it is. It says that the microphone hears something, so it is drawn even where motion is not wanted.
  function meter(mine) {
    const Context = window.AudioContext || window.webkitAudioContext
    if (!Context) return
    mine.context = new Context()
    const ear = mine.context.createAnalyser()
    ear.fftSize = 512
    mine.context.createMediaStreamSource(mine.stream).connect(ear)
    const wave = new Uint8Array(ear.fftSize)
    mine.level = () => {
      ear.getByteTimeDomainData(wave)
      let sum = 0
      for (const v of wave) sum += (v - 128) * (v - 128)
      return Math.min(1, Math.sqrt(sum / wave.length) / 40)
    }
  }

  function showRecording(mine) {
    const time = el('span', {class: 'record-time'}, durationText(0))
    const level = el('span', {class: 'record-level', role: 'presentation'}, el('span', {}))
    const stop = act('stop', 'stop_recording', () => end('keep'))
    const go = act('send', 'send_voice', () => end('send'), 'primary')
    sheet.replaceChildren(act('discard', 'cancel_recording', close), el('span', {class: 'record-dot'}), el('span', {class: 'sr', role: 'status'}, t('recording')), time, level, stop, go)
    sheet.hidden = false
    stop.focus()
    mine.timer = setInterval(() => {
      const ms = performance.now() - mine.began
      const words = durationText(Math.floor(ms / 1000) * 1000)
      if (time.textContent !== words) time.textContent = words
      if (mine.level) level.firstChild.style.width = Math.round(100 * mine.level()) + '%'
      if (ms >= MOST) {
        complain(t('record_most', {time: durationText(MOST)}))
        end('keep')
      }
    }, 100)
  }

  function act(name, label, press, kind = 'tool') {
    const node = el('button', {type: 'button', class: kind + ' record-' + name, 'aria-label': t(label), title: t(label)}, icon(name))
    node.addEventListener('click', press)
    return node
  }

  function end(wanted) {
    if (!take || take.recorder.state === 'inactive') return
    take.wanted = wanted
    take.length = Math.min(MOST, Math.round(performance.now() - take.began))
    take.recorder.stop()
  }

  function stopped(mine) {
    quiet(mine)
    const type = (mine.recorder.mimeType || 'audio/webm').replace(/;.*/, '')
    const blob = new Blob(mine.parts, {type})
    if (mine.length < LEAST || !blob.size) {
      close()
      return complain(t('recording_short'))
    }
    const ending = {'audio/mp4': 'm4a', 'audio/ogg': 'ogg'}[type] || 'webm'
    const about = {name: `${t('voice')}-${stamp()}.${ending}`, type, size: blob.size, duration_ms: mine.length}
    mine.result = {blob, url: URL.createObjectURL(blob), about}
    if (mine.wanted === 'send') return post()
    const file = {...about, duration: about.duration_ms, view: 'voice', url: ''}
    const go = act('send', 'send_voice', post, 'primary')
    sheet.replaceChildren(act('discard', 'record_again', close), fileNode(file, {url: mine.result.url}), go)
    go.focus()
  }

  function post() {
    const {result} = take
    endVoice(result.url)
    take = null
    shut()
    send(result)
  }

  function quiet(mine) {
    clearInterval(mine.timer)
    release(mine.stream)
    if (mine.context) mine.context.close()
    mine.context = null
  }

  function close() {
    const was = take
    take = null
    if (was) {
      if (was.recorder.state !== 'inactive') was.recorder.stop()
      quiet(was)
      if (was.result) {
        endVoice(was.result.url)
        URL.revokeObjectURL(was.result.url)
      }
    }
    shut()
  }

  function shut() {
    if (sheet.hidden) return
    sheet.hidden = true
    sheet.textContent = ''
    busy(false)
    button.focus()
  }

  const release = (stream) => stream.getTracks().forEach((track) => track.stop())

  button.addEventListener('click', start)
  sheet.addEventListener('keydown', (e) => {
    if (e.key !== 'Escape') return
    e.stopPropagation()
    close()
  })
  window.addEventListener('pagehide', () => take && quiet(take))
  onLang(() => { button.title = t('record') })

  return {close, get open() { return !sheet.hidden }}
}

function stamp() {
  const two = (n) => String(n).padStart(2, '0')
  const d = new Date()
  return `${d.getFullYear()}${two(d.getMonth() + 1)}${two(d.getDate())}-${two(d.getHours())}${two(d.getMinutes())}${two(d.getSeconds())}`
}
