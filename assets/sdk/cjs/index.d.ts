// Made by go test ./assets -run TestSDKBuilds -update
export * from './teahouse.js'
