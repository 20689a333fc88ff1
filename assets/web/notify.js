// Notifications of messages that come while the page is not looked at. A muted room is quiet but for mentions of
// oneself: that is what a mention is for.
import {memory} from './dom.js'
import {t} from './i18n.js'
import {summary} from './message.js'

export function makeNotify({goTo, me}) {
  /** 'on' | 'off' | 'denied' | 'insecure' | 'unsupported' */
  function state() {
    if (!('Notification' in window)) return window.isSecureContext ? 'unsupported' : 'insecure'
    if (!window.isSecureContext) return 'insecure'
    if (memory.get('no-notify')) return 'unsupported'
    if (Notification.permission === 'denied') return 'denied'
    return Notification.permission === 'granted' && memory.get('notify') ? 'on' : 'off'
  }

  return {
    state,
    async set(on) {
      memory.set('notify', on ? 'on' : '')
      if (on && state() === 'off') await Notification.requestPermission()
    },
    arrived(room, e) {
      if (state() !== 'on' || (!document.hidden && document.hasFocus())) return
      const mentioned = room.mentions(e)
      if (room.muted && !mentioned) return
      const text = summary(e)
      try {
        const note = new Notification(mentioned ? t('notify_mention', {who: e.from, room: room.title()}) : room.title(), {
          body: room.kind === 'talk' ? text : t('preview_line', {who: e.from, text}),
          tag: room.topic, // one for each room, the newest
          icon: new URL('./icon-192.png', location.href).href,
        })
        note.onclick = () => {
          window.focus()
          goTo(room.hash)
          note.close()
        }
      } catch (err) {
        memory.set('no-notify', 'yes') // some phones' browsers have them for service workers only: the settings say so
      }
    },
  }
}
