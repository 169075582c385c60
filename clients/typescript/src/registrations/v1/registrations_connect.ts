export { RegistrationsService } from "../../gen/registrations/v1/registrations_pb.js";
