;; Imports a function that the contract does not have. It must be refused.
(component
  (import "heddle:plugin/effects@0.1.0" (instance (export "drop-stream" (func (param "name" string))))))
