// The panel of the open room: its link and QR code, its notifications, its code, the way out.
import {$, memory} from './dom.js'
import {t, why} from './i18n.js'
import {LOBBY, checkCode, roomLink} from './names.js'
import {makePanel} from './panel.js'

export function makeShare(house) {
  const panel = makePanel($('share-button'), $('share'), () => {
    const room = house.open()
    const isRoom = room.kind === 'room'
    $('share-title').textContent = room.title()
    $('share-invite').hidden = !isRoom
    $('code-form').hidden = $('leave-room').hidden = !isRoom || room.topic === LOBBY // the lobby is for everybody
    $('room-notify').checked = !room.muted
    $('copied').textContent = $('code-error').textContent = ''
    $('code-input').value = memory.get('code.' + room.name)
    $('qr').textContent = ''
    if (!isRoom) return
    $('share-link').value = roomLink(location, room.name)
    drawQR(room)
  })

  // It is fetched when it is needed: most people never open this.
  async function drawQR(room) {
    const {qrSVG} = await import('./qr.js')
    if (room === house.open()) $('qr').replaceChildren(qrSVG(roomLink(location, room.name), {label: t('qr_label', {room: room.title()})}))
  }

  $('copy').addEventListener('click', async () => {
    const done = await house.copyText($('share-link').value)
    $('copied').textContent = t(done ? 'copied' : 'copy_by_hand')
    if (!done) $('share-link').select()
  })
  $('share-link').addEventListener('focus', () => $('share-link').select())
  $('room-notify').addEventListener('change', () => house.open().mark({muted: !$('room-notify').checked}))
  $('code-form').addEventListener('submit', async (e) => {
    e.preventDefault()
    const room = house.open()
    const code = $('code-input').value.trim()
    const wrong = checkCode(code)
    if (wrong) {
      $('code-error').textContent = t(wrong)
      return $('code-input').focus()
    }
    try {
      await room.topicOf().protect(code)
      memory.set('code.' + room.name, code)
      panel.close()
      house.toast(t(code ? 'code_kept' : 'code_gone'))
    } catch (err) {
      $('code-error').textContent = err.code === 'forbidden' ? t('code_forbidden') : why(err)
    }
  })
  $('leave-room').addEventListener('click', () => house.leaveRoom(house.open()))
}
