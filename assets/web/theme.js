// Not a module, so that it runs before anything is painted: the look that was chosen by hand, and the size.
try {
  const theme = localStorage.getItem('teahouse.theme')
  const size = localStorage.getItem('teahouse.size')
  if (theme) document.documentElement.dataset.theme = theme
  if (size) document.documentElement.style.fontSize = size + '%'
} catch (err) { /* nothing may be kept here */ }
