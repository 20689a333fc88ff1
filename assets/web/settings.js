// The settings: name, language, look, size of the text, notifications.
import {$, avatar, memory} from './dom.js'
import {t, lang, onLang, setLang, switchLang} from './i18n.js'
import {makePanel, closePanel} from './panel.js'

/**
 * notify: see notify.js; rename() leads to the door; otherDevice() is the link by which another device gets the name,
 * '' where a token says who one is.
 */
export function makeSettings({me, notify, rename, otherDevice, copyText}) {
  makePanel($('settings-button'), $('settings'), () => {
    $('me').textContent = me() || ''
    $('me-face').replaceChildren(avatar(me() || '?'))
    $('set-lang').value = lang() === 'zh-CN' ? 'zh' : 'en'
    $('set-theme').value = memory.get('theme')
    $('set-size').value = memory.get('size')
    showNotify()
    $('other-device').hidden = !otherDevice()
    showDevice(false)
  })

  /** The link is a secret, so it is not in sight before it is asked for. */
  async function showDevice(open) {
    $('other-device').setAttribute('aria-expanded', open)
    $('device').hidden = !open
    $('device-copied').textContent = $('device-qr').textContent = ''
    $('device-link').value = open ? otherDevice() : ''
    if (!open) return
    const {qrSVG} = await import('./qr.js')
    if ($('device-link').value) $('device-qr').replaceChildren(qrSVG($('device-link').value, {label: t('device_qr', {name: me()})}))
  }
  $('other-device').addEventListener('click', () => showDevice($('device').hidden))
  $('device-copy').addEventListener('click', async () => {
    const done = await copyText($('device-link').value)
    $('device-copied').textContent = t(done ? 'copied' : 'copy_by_hand')
    if (!done) $('device-link').select()
  })

  function showNotify() {
    const state = notify.state()
    $('set-notify').checked = state === 'on'
    $('set-notify').disabled = state === 'insecure' || state === 'unsupported'
    $('notify-hint').textContent = t('notify_' + state)
  }

  $('set-lang').addEventListener('change', () => setLang($('set-lang').value))
  $('set-theme').addEventListener('change', () => {
    memory.set('theme', $('set-theme').value)
    dress()
  })
  $('set-size').addEventListener('change', () => {
    memory.set('size', $('set-size').value)
    dress()
  })
  $('set-notify').addEventListener('change', async () => {
    await notify.set($('set-notify').checked)
    showNotify()
  })
  $('rename').addEventListener('click', () => {
    closePanel()
    rename()
  })
  for (const button of document.querySelectorAll('[data-lang]')) button.addEventListener('click', switchLang)
  onLang(showNotify)
}

/** early.js does the same before the first paint. */
function dress() {
  const root = document.documentElement
  const theme = memory.get('theme')
  if (theme) root.dataset.theme = theme
  else delete root.dataset.theme
  root.style.fontSize = memory.get('size') ? memory.get('size') + '%' : ''
}
