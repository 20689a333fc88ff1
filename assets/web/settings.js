// The settings: name, language, look, size of the text, notifications.
import {$, avatar, memory} from './dom.js'
import {t, lang, onLang, setLang, switchLang} from './i18n.js'
import {makePanel, closePanel} from './panel.js'

/** notify: see notify.js; rename() leads to the door. */
export function makeSettings({me, notify, rename}) {
  makePanel($('settings-button'), $('settings'), () => {
    $('me').textContent = me() || ''
    $('me-face').replaceChildren(avatar(me() || '?'))
    $('set-lang').value = lang() === 'zh-CN' ? 'zh' : 'en'
    $('set-theme').value = memory.get('theme')
    $('set-size').value = memory.get('size')
    showNotify()
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

/** theme.js does the same before the first paint. */
function dress() {
  const root = document.documentElement
  const theme = memory.get('theme')
  if (theme) root.dataset.theme = theme
  else delete root.dataset.theme
  root.style.fontSize = memory.get('size') ? memory.get('size') + '%' : ''
}
