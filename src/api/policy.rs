//! The policy service: as the admin service, and only looking.

use super::{
    admin::Administration,
    calls::refused,
    policy_wire as wire,
    proto::{ExplainRequest, ExplainResponse, WhatIfRequest, WhatIfResponse, policy_service_server::PolicyService},
};
use crate::{
    exchange::{ExplainInput, ExplainReply},
    model::{Fault, Reason},
};
use std::{sync::Arc, time::Duration};
use tonic::{Request, Response, Status};

/// When to try again while another call is being answered.
const RETRY_AFTER: Duration = Duration::from_secs(1);

impl Administration {
    async fn explained<T>(
        &self,
        request: Request<T>,
        operation: &'static str,
        read: impl FnOnce(T) -> Result<ExplainInput, Fault>,
    ) -> Result<ExplainReply, Status> {
        let (operator, _in_flight) = self.operator(&request, operation).await?;
        let Ok(one) = Arc::clone(&self.explaining).try_acquire_owned() else {
            let busy = Fault::new(Reason::QuotaExceeded).with("quota", "explanations");
            let busy = busy.in_detail("One explanation is made at a time.").retry_after(RETRY_AFTER);
            return Err(refused(&busy));
        };
        let (_, _, message) = request.into_parts();
        let input = read(message).map_err(|f| refused(&f))?;
        self.corridor.explain(operator, (input, one), operation == "WhatIf").await.map_err(|f| refused(&f))
    }
}

#[tonic::async_trait]
impl PolicyService for Administration {
    async fn explain(&self, request: Request<ExplainRequest>) -> Result<Response<ExplainResponse>, Status> {
        let reply = self.explained(request, "Explain", wire::what).await?;
        let decision_id = reply.decision.to_string();
        Ok(Response::new(ExplainResponse { explanation: Some(wire::explanation(reply)), decision_id }))
    }

    async fn what_if(&self, request: Request<WhatIfRequest>) -> Result<Response<WhatIfResponse>, Status> {
        let reply = self.explained(request, "WhatIf", wire::what_if).await?;
        let decision_id = reply.decision.to_string();
        Ok(Response::new(WhatIfResponse { explanation: Some(wire::explanation(reply)), decision_id }))
    }
}
