// Made by go test ./assets -run TestSDKBuilds -update
module.exports = require('./teahouse.js')
