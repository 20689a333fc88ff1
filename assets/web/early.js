// Not a module, so that it runs before they are here. The look that was chosen by hand, and the size, come before
// anything is painted. The socket is opened while the page's script is on its way, where it is known who comes in: on
// a phone's network that takes as long as the script does. socket.js hands it to the SDK.
try {
  const theme = localStorage.getItem('teahouse.theme')
  const size = localStorage.getItem('teahouse.size')
  if (theme) document.documentElement.dataset.theme = theme
  if (size) document.documentElement.style.fontSize = size + '%'
  const {socket} = document.currentScript.dataset
  if (socket && (localStorage.getItem('teahouse.name') || localStorage.getItem('teahouse.token'))) {
    window.earlySocket = new WebSocket(location.origin.replace('http', 'ws') + socket)
  }
} catch (err) { /* nothing may be kept here */ }
