// Sound and vibration, where the browser allows them: both only after the person has touched the page.

let audio = null
for (const touch of ['pointerdown', 'keydown']) {
  window.addEventListener(touch, () => {
    try {
      audio = audio || new (window.AudioContext || window.webkitAudioContext)()
      if (audio.state === 'suspended') audio.resume()
    } catch (err) { /* then there is no sound */ }
  }, {capture: true, passive: true})
}

// Each note: Hz, when it begins and how long it sounds, in seconds. Each vibration: on, off, on … in ms.
const SIGNALS = {
  good: {notes: [[880, 0, 0.12], [1319, 0.12, 0.28]], shake: [80, 60, 160]},
  bad: {notes: [[220, 0, 0.22], [175, 0.28, 0.4]], shake: [300, 120, 300]},
  wait: {notes: [[440, 0, 0.15], [440, 0.25, 0.15]], shake: [120]},
}

/** 'good', 'bad' or 'wait'. */
export function signal(name) {
  const {notes, shake} = SIGNALS[name]
  try {
    if (navigator.vibrate) navigator.vibrate(shake)
  } catch (err) { /* then not */ }
  if (!audio || audio.state !== 'running') return
  for (const [pitch, from, length] of notes) {
    const at = audio.currentTime + from
    const tone = audio.createOscillator()
    const loudness = audio.createGain()
    tone.type = name === 'bad' ? 'square' : 'sine'
    tone.frequency.value = pitch
    loudness.gain.setValueAtTime(name === 'bad' ? 0.12 : 0.3, at)
    loudness.gain.exponentialRampToValueAtTime(0.001, at + length)
    tone.connect(loudness).connect(audio.destination)
    tone.start(at)
    tone.stop(at + length)
  }
}
