;; Imports a shell. It must be refused, with the import's name.
(component
  (import "evil:host/shell@1.0.0" (instance (export "run" (func (param "command" string))))))
