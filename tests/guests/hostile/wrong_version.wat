;; Exports the handler of a contract that does not exist yet. It must be refused.
(component
  (core module $module (func (export "handle")))
  (core instance $inner (instantiate $module))
  (func $handle (canon lift (core func $inner "handle")))
  (instance $handler (export "handle" (func $handle)))
  (export "heddle:plugin/handler@9.0.0" (instance $handler)))
