// The panel that opens a room, a new one or one that is there, and a talk by somebody's name.
import {$, memory} from './dom.js'
import {t, why} from './i18n.js'
import {ROOM_BYTES, checkCode, checkName, roomHash, talkHash} from './names.js'
import {makePanel, closePanel} from './panel.js'

const PATIENCE = 10000 // ms that a room may take to let one in before its code is not set any more

export function makeNewRoom(house) {
  makePanel($('new-room'), $('new'), () => {
    for (const id of ['new-name', 'new-code', 'talk-name']) {
      $(id).value = ''
      $(id).removeAttribute('aria-invalid')
    }
    $('new-error').textContent = $('talk-error').textContent = ''
    return $('new-name')
  })

  function complain(field, error, text) {
    $(error).textContent = text
    $(field).setAttribute('aria-invalid', 'true')
    $(field).focus()
  }

  $('new-form').addEventListener('submit', (e) => {
    e.preventDefault()
    const {name, wrong, n} = checkName($('new-name').value, ROOM_BYTES)
    if (wrong) return complain('new-name', 'new-error', t('room_' + wrong, {n, max: ROOM_BYTES}))
    const code = $('new-code').value.trim()
    if (checkCode(code)) return complain('new-code', 'new-error', t(checkCode(code)))
    closePanel()
    memory.set('code.' + name, code)
    house.goTo(roomHash(name))
    if (code) protect(name, code)
  })

  /** A room that is new gets the code; of one that has a code it was the key. */
  async function protect(name, code) {
    const since = Date.now()
    const room = () => house.open()
    while (!(room() && room().name === name && (room().ready || room().refused))) {
      if (Date.now() - since > PATIENCE) return
      await new Promise((done) => setTimeout(done, 50))
    }
    if (room().refused) return
    try {
      await room().topicOf().protect(code)
      house.toast(t('code_kept'))
    } catch (err) {
      memory.set('code.' + name, '')
      house.toast(err.code === 'forbidden' ? t('code_forbidden') : why(err))
    }
  }

  $('talk-form').addEventListener('submit', (e) => {
    e.preventDefault()
    const {name, wrong, n} = checkName($('talk-name').value)
    if (wrong) return complain('talk-name', 'talk-error', t('name_' + wrong, {n}))
    if (name === house.me()) return complain('talk-name', 'talk-error', t('talk_self'))
    closePanel()
    house.goTo(talkHash(name))
  })
  for (const id of ['new-name', 'new-code', 'talk-name']) $(id).addEventListener('input', () => $(id).removeAttribute('aria-invalid'))
}
