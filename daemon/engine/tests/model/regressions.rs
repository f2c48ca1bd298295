//! What random steps once found, as short as shrinking made it. Each names the rule.
