// What stands in the place of a room that does not let one in: its code is asked for, or the reason is said.
import {$, memory} from './dom.js'
import {t, why} from './i18n.js'
import {PAGE} from './room.js'

const WANTS_CODE = ['code_needed', 'bad_code']

export function makeGate(house) {
  let shown = ''

  function show(room) {
    const refused = room ? room.refused : ''
    $('gate').hidden = !refused
    $('foot').hidden = !room || !!refused
    const state = room ? room.topic + ' ' + refused + document.documentElement.lang : ''
    if (state === shown) return
    const again = shown.split(' ')[0] === state.split(' ')[0]
    shown = state
    if (!refused) return
    const asks = WANTS_CODE.includes(refused)
    $('gate-text').textContent = asks ? t('gate_code', {room: room.title()}) : t('gate_closed', {room: room.title(), why: why({code: refused})})
    $('gate-field').hidden = !asks
    $('gate-error').textContent = refused === 'bad_code' ? why({code: refused}) : ''
    if (!again) $('gate-code').value = ''
    if (asks) $('gate-code').focus()
  }

  $('gate').addEventListener('submit', (e) => {
    e.preventDefault()
    const room = house.open()
    const code = $('gate-code').value.trim()
    if (!code) {
      $('gate-error').textContent = t('code_empty')
      return $('gate-code').focus()
    }
    shown = ''
    memory.set('code.' + room.name, code)
    room.follow(PAGE, code)
    house.changed(room)
  })
  $('gate-leave').addEventListener('click', () => house.leaveRoom(house.open()))
  return {show}
}
