;; Exports the handlers of two worlds. It must be refused, with both names.
(component
  (instance $empty)
  (export "heddle:plugin/handler@0.1.0" (instance $empty))
  (export "wasmcloud:messaging/handler@0.2.0" (instance $empty)))
